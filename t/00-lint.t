#!/usr/bin/env perl
# What a reader relies on without looking: layers, headers that stand alone, one symbol per module,
# no hidden forks, nothing left over.
use strict;
use warnings;
use Test::More;
use File::Temp qw(tempdir);

my $src = $ENV{STEELYARD_SRC} || '.';
my $build = $ENV{STEELYARD_BUILD} || '.';
chdir $src or die "$src: $!";

my @layers = qw(api base share conf proc net way role);
my %rank = map { $layers[$_] => $_ } 0 .. $#layers;

sub slurp {
	my $file = shift;
	open my $in, '<', $file or die "$file: $!";
	local $/;
	return scalar <$in>;
}

my @files = split /\n/, `find core modules -name '*.c' -o -name '*.h'`;
my @all = split /\n/, `find core modules contrib t -type f`;
ok(@files > 50, 'there is something to look at: ' . @files . ' files');

# A layer includes itself and the layers to its left; ctl what reads and compares configurations and
# starts the loader; a module api only.
my @wrong;
for my $file (@files) {
	my ($layer) = $file =~ m{^core/(\w+)/};
	my $module = $file =~ m{^modules/};
	for my $line (split /\n/, slurp($file)) {
		my ($inc) = $line =~ /^\s*#\s*include\s+"([^"]+)"/ or next;
		my ($to) = $inc =~ m{^(\w+)/};
		next if $inc eq 'config.h';
		if ($module) {
			push @wrong, "$file includes $inc" unless $inc =~ m{^api/} || -e ($file =~ s{[^/]+$}{}r . $inc);
		} elsif (!defined $to) {
			push @wrong, "$file includes $inc without its layer";
		} elsif ($layer eq 'ctl') {
			push @wrong, "$file includes $inc" unless $to =~ /^(api|base|conf|proc|ctl)$/;
		} elsif (!defined $rank{$to} || $rank{$to} > $rank{$layer}) {
			push @wrong, "$file includes $inc";
		}
	}
}
is_deeply(\@wrong, [], 'layers: ' . join(' < ', @layers));

# Each header compiles alone.
my @alone;
for my $header (grep { /\.h$/ && !m{api_id\.h$} } @files) {
	my $cmd = "cc -std=gnu11 -fsyntax-only -Icore -I$build/core -I$build -x c $header 2>&1";
	my $out = `$cmd`;
	push @alone, "$header: $out" if $?;
}
is_deeply(\@alone, [], 'each header compiles alone');

# The master makes processes in one place only, and never by fork.
my @fork;
for my $file (grep { /\.c$/ } @files) {
	my $text = slurp($file);
	$text =~ s{/\*.*?\*/}{}gs;
	$text =~ s/\bexecve?\s*\(//g if $file eq 'core/role/master_upgrade.c'; # the master by itself, in place
	push @fork, "$file: $1" while $text =~ /\b(v?fork|daemon|system|popen|exec[vl]p?e?)\s*\(/g;
	push @fork, "$file: posix_spawn" if $text =~ /\bposix_spawnp?\s*\(/ && $file ne 'core/proc/spawn.c';
}
is_deeply(\@fork, [], 'no fork, system, popen; posix_spawn in core/proc/spawn.c only');

# The master parses nothing, opens no module, resolves nothing, touches no TLS.
my @master;
for my $file (grep { m{^core/role/(master|supervise|reload|listeners)[^/]*\.c$} } @files) {
	my $text = slurp($file);
	$text =~ s{/\*.*?\*/}{}gs;
	push @master, "$file: $1" while $text =~ /\b(dlopen|getaddrinfo|getpwnam|getgrnam|SSL_\w+|parse_file|config_bind)\s*\(/g;
}
is_deeply(\@master, [], 'the master parses, loads and resolves nothing');

# A module exports sy_module and nothing else, and has no writable globals.
my @symbols;
for my $so (glob "$build/t/modules/*/*.so") {
	my @names = map { (split)[-1] } grep { / [A-TV-Z] / && !/ [wv] / && !/ __odr_asan/ } split /\n/, `nm -D --defined-only $so`;
	push @symbols, "$so exports @names" unless "@names" eq 'sy_module';
}
is_deeply(\@symbols, [], 'a module exports sy_module alone');

# Files have one purpose: none over 600 lines; and nothing is left over in them.
my (@long, @left, @space);
for my $file (@files) {
	my $text = slurp($file);
	my $lines = () = $text =~ /\n/g;
	push @long, "$file ($lines)" if $lines > 600;
	push @space, $file if $text =~ /[ \t]+$/m;
}
for my $file (@all) {
	next if -B $file || $file eq 't/00-lint.t';
	my $text = slurp($file);
	push @left, "$file: $1" if $text =~ /\b(TODO|FIXME|XXX|HACK)\b/;
}
is_deeply(\@long, [], 'no file is over 600 lines');
is_deeply(\@left, [], 'nothing is left over');
is_deeply(\@space, [], 'tabs, and no trailing blanks');

my @top = grep { !/^(core|modules|conf\.d|contrib|t|configure\.ac|Makefile\.am|README\.md|LICENSE|\.ci|\.clang-format|\.gitignore)$/ }
	map { s{/.*}{}r } split /\n/, `git ls-files 2>/dev/null`;
is_deeply(\@top, [], 'the top of the tree is as designed');

my @shell;
for my $script (grep { !-B $_ && slurp($_) =~ m{^#!/usr/bin/env bash|^#!/bin/sh} } @all) {
	my $out = `bash -n $script 2>&1`;
	push @shell, "$script: $out" if $?;
}
is_deeply(\@shell, [], 'shell scripts parse');

done_testing;
