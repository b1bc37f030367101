#!/usr/bin/env perl
# Modules that must not be used: each is refused with a clear sentence, at the line that names it.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use File::Temp qw(tempdir);
use POSIX qw(mkfifo);
use Test::More;
use Steelyard;

my $dir = tempdir('steelyard-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $dir;
mkdir "$dir/$_" for qw(mods mods/protocol mods/scheduler mods/monitor mods/persistence);
my ($src, $build) = (Steelyard::src_dir(), Steelyard::build_dir());
my $cc = $ENV{CC} || 'cc';

sub put {
	my ($file, $text) = @_;
	open my $out, '>', $file or die "$file: $!";
	print $out $text;
	close $out or die $!;
}

# A scheduler; what is wrong with it comes with -D.
put("$dir/bad.c", <<'C');
#include "api/scheduler.h"
#ifdef UNDEFINED
int nowhere_to_be_found(void);
#endif
#ifdef CONSTRUCTOR
#include <unistd.h>
__attribute__((constructor)) static void
tell(void)
{
	fprintf(stderr, "module code runs as %d, and /root is %s\n", (int)getuid(),
		access("/root/.", X_OK) == 0 ? "open" : "closed");
}
#endif
struct conf { uint32_t n; };
static int
pick(const void *conf, const struct sy_set *set, const void *table, const struct sy_draw *draw)
{
	(void)conf, (void)table, (void)draw;
#ifdef UNDEFINED
	return nowhere_to_be_found();
#endif
	return set->n ? 0 : -1;
}
static int
check(void *conf, struct sy_err *err)
{
	struct conf *mine = conf;
	return mine->n == 13 ? sy_fail(err, "13 brings bad luck") : 0;
}
static const struct sy_row rows[] = { SY_ROW(struct conf, n, "n", .preset = "1", .doc = "N."), SY_ROW_END };
#ifndef PICK
#define PICK pick
#endif
#ifndef OPS_SIZE
#define OPS_SIZE sizeof(struct sy_scheduler)
#endif
static const struct sy_scheduler ops = { .size = OPS_SIZE, .pick = PICK };
#ifndef NAME
#define NAME "bad"
#endif
#ifndef KIND
#define KIND SY_SCHEDULER
#endif
#ifndef SYMBOL
#define SYMBOL sy_module
#endif
__attribute__((visibility("default"))) const struct sy_module SYMBOL = {
#ifdef SIZE
	.size = SIZE,
#else
	.size = sizeof(struct sy_module),
#endif
#ifdef MAJOR
	.abi_major = MAJOR,
#else
	.abi_major = SY_ABI_MAJOR,
#endif
#ifdef MINOR
	.abi_minor = MINOR,
#else
	.abi_minor = SY_ABI_MINOR,
#endif
#ifdef API_ID
	.api_id = API_ID,
#else
	.api_id = SY_API_ID,
#endif
	.kind = KIND, .name = NAME, .version = "1", .summary = "Bad.", .rows = rows,
#ifndef NO_CONF
	.conf_size = sizeof(struct conf),
#endif
	.check = check,
#ifndef NO_OPS
	.ops = &ops,
#endif
};
C

my @flags = ('-std=gnu11', '-shared', '-fPIC', '-fvisibility=hidden', '-w', "-I$src/core", "-I$build/core");
my $so = "$dir/mods/scheduler/bad.so";
sub build {
	my (@defines) = @_;
	remove();
	system($cc, @flags, map({ "-D$_" } @defines), "$dir/bad.c", '-o', $so) == 0 or die "cannot build @defines";
	chmod 0755, $so;
}
sub remove { -d $so ? rmdir $so : unlink $so }

system('cp', glob(Steelyard::modules() . "/$_/*.so"), "$dir/mods/$_") == 0 or die for qw(protocol monitor persistence);

put("$dir/steelyard.conf", ($> == 0 ? 'user nobody;' : '') . <<'CONF');
pool p { server s 127.0.0.1; }
virtual-service v {
	listen 127.0.0.1:0;
	pool p;
	monitor off;
	scheduler bad;
}
CONF

sub load {
	my $text = `@{[Steelyard::steelyardd()]} -t -m $dir/mods -c $dir/steelyard.conf 2>&1`;
	return ($? >> 8, $text);
}

sub refused {
	my ($words, $name) = @_;
	my ($status, $text) = load();
	my $start = "$dir/steelyard.conf:6: scheduler bad: ";
	ok($status == 1 && $text =~ /^\Q$start\E.*\Q$words\E/m, $name) or diag $text;
	unlike($text, qr{/proc/}, "$name: nothing that only we understand");
}

build();
my ($status, $text) = load();
is($status, 0, 'a good one is taken') or diag $text;

build('CONSTRUCTOR');
SKIP: {
	skip 'not root', 1 if $> != 0;
	($status, $text) = load();
	like($text, qr/^module code runs as 65534, and \/root is closed$/m,
		"a module's code never runs as root");
}

build('MAJOR=2');
refused('the module was built for version 2.0 of the module interface, and this is 1.0: build it again', 'another major version');
build('MINOR=9');
refused('the module was built for version 1.9 of the module interface', 'a later minor version');
build('MAJOR=0', 'SIZE=8');
refused('the module was built for version 0.0', 'a module of the past');
build('SIZE=8');
refused("struct sy_module has 8 bytes", 'another size');
build('API_ID="0123456789abcdef"');
refused('the module was built with other headers (0123456789abcdef, and these are ', 'other headers');
build('API_ID=0');
refused('the module was built with other headers (none, ', 'no headers');
build('KIND=SY_MONITOR');
refused('the module is a monitor, and not a scheduler', 'another kind');
build('KIND=77');
refused('the module is a thing of no known kind, and not a scheduler', 'no kind');
build('NAME="good"');
refused('the module calls itself good: the file must be named like the module', 'another name');
build('NAME=0');
refused('the module calls itself nothing', 'no name');
build('NO_OPS');
refused('the module is refused: it has no functions', 'no functions');
build('PICK=0');
refused('the module is refused: it lacks pick()', 'a function is missing');
build('OPS_SIZE=3');
refused('the module is refused: its struct sy_scheduler has another size', 'another size of functions');
build('NO_CONF');
refused('the module has settings, and no place for them', 'no settings');
build('SYMBOL=other_module');
refused('it cannot be opened as a module: undefined symbol: sy_module', 'no symbol');
build('UNDEFINED');
refused('it cannot be opened as a module: undefined symbol: nowhere_to_be_found', 'a symbol is missing');

build();
put("$dir/steelyard.conf.new", do { local (@ARGV, $/) = "$dir/steelyard.conf"; <> } =~ s/scheduler bad;/scheduler bad { n 13; }/r);
rename "$dir/steelyard.conf", "$dir/steelyard.conf.old";
rename "$dir/steelyard.conf.new", "$dir/steelyard.conf";
refused('13 brings bad luck', "the module's own check");
rename "$dir/steelyard.conf.old", "$dir/steelyard.conf";

remove();
put($so, "no ELF, but some text that is long enough to be read as a header of one, or nearly so\n");
refused('it cannot be opened as a module: invalid ELF header', 'no shared object');
put($so, '');
refused('it cannot be opened as a module: file too short', 'an empty file');
remove();
mkdir $so;
refused('bad.so is refused: it is not a regular file', 'a folder');
remove();
mkfifo($so, 0700);
refused('bad.so is refused: it is not a regular file', 'a FIFO');
build();
chmod 0757, $so;
refused('bad.so is refused: everybody may write to it', 'writable by everybody');
SKIP: {
	skip 'not root', 4 if $> != 0;
	chmod 0755, $so;
	chown 65534, 65534, $so;
	refused('bad.so is refused: it does not belong to root', "somebody else's");
	chown 0, 65534, $so;
	chmod 0775, $so;
	refused('bad.so is refused: its group may write to it', "writable by somebody's group");
}
remove();
symlink "$dir/nothing", $so;
refused('there is no module', 'a link to nothing');
unlink $so;
refused('there is no such module, and no other in ', 'nothing at all');

done_testing;
