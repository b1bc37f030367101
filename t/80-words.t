#!/usr/bin/env perl
# Words from outside: programs, servers and people who write what is no text. What is shown stays
# whole, in JSON and on the terminal; what is long arrives to its end.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Steelyard;
use Crowd qw(wait_for);
use File::Temp qw(tempdir);

my $dir = tempdir(CLEANUP => 1);
chmod 0755, $dir;
my %say = (
	escape => "\033[31mred\033[0m\007 and\ttab",
	bytes => "\xff\xfe\x80 no UTF-8 \xc3",
	long => "\xc3\xa4" x 500,
	shifted => 'x' . "\xe2\x82\xac" x 300,
	quotes => '"}],\\',
	nothing => '',
);
my $services = '';
for my $name (sort keys %say) {
	my $octal = join '', map { sprintf '\\%03o', ord } split //, $say{$name};
	my $program = "$dir/$name";
	open my $out, '>', $program or die $!;
	print $out "#!/bin/sh\nprintf '$octal\\n'\nexit 1\n";
	close $out;
	chmod 0755, $program;
	$services .= "virtual-service $name {\n\tlisten 127.0.0.1:0;\n\tpool p;\n"
		. "\tmonitor exec { command $program; interval 1s; timeout 900ms; fall 1; fast-interval 200ms; }\n}\n";
}
my $conf = "pool p { server s1 127.0.0.1:1; server s2 127.0.0.1:1; }\n$services";
my $sy = Steelyard->start($conf);
for my $name (sort keys %say) {
	$sy->wait_down($name, "s$_") for 1, 2;
}

subtest 'reasons' => sub {
	my $status = $sy->api('GET', '/v1/status');
	is(scalar @{ $status->{services} }, scalar keys %say, 'no service is missing from the status');
	is(scalar @{ $status->{wrong} }, 2 * keys %say, 'nor a server from what is wrong');
	for my $name (sort keys %say) {
		my $seat = $sy->seat($name, 's1');
		ok($seat, "$name: is there") or next;
		like($seat->{why}, qr/^exec .*exit status 1/, "$name: " . $seat->{why} =~ s/[^ -~]/?/gr);
		unlike($seat->{why}, qr/[\x00-\x1f\x7f]/, "$name: without control characters");
	}
	like($sy->seat('long', 's1')->{why}, qr/\x{e4}{10,}(?:\W|$)/, 'long: cut between characters');
	unlike($sy->seat('shifted', 's1')->{why}, qr/\x{fffd}/, 'shifted: cut between characters');
	for my $command ([qw(status)], [qw(services)], [qw(checks)], [qw(events)]) {
		my ($text) = $sy->ctl(@$command);
		unlike($text, qr/[\x00-\x09\x0b-\x1f\x7f]/, "steelyardctl @$command: nothing that a terminal would obey");
		ok(utf8::decode($text), "steelyardctl @$command: UTF-8");
	}
	my $events = $sy->api('GET', '/v1/events')->{events};
	my %seen = map { /service (\w+)\): down/ ? ($1 => 1) : () } map { $_->{words} } @$events;
	is_deeply([ sort keys %seen ], [ sort keys %say ], 'each has its event');
};

subtest 'a configuration with hundreds of mistakes' => sub {
	my ($ok, $text) = $sy->reload($conf . join '', map { "mistake-number-$_ is one;\n" } 1 .. 150);
	ok(!$ok, 'is refused');
	my @all = $text =~ /unknown directive mistake-number-(\d+)/g;
	is(scalar @all, 150, 'and each of them reaches steelyardctl');
	is_deeply(\@all, [ 1 .. 150 ], 'in order');
	unlike($text, qr/\n\n\z/, 'without an empty line at the end');
	($ok, $text) = $sy->reload("$conf\xc3(\xff \"x\033[2J\" {\n");
	ok(!$ok, 'bytes that are no text: refused');
	unlike($text, qr/[\x00-\x09\x0b-\x1f\x7f-\xff]/, 'and quoted as text');
	like($text, qr/steelyard\.conf:\d+/, 'with the place');
	($ok, $text) = $sy->reload($conf . "# good\n");
	ok($ok, 'and then a good one') or diag $text;
};

subtest 'questions that are no text' => sub {
	for my $case (['/v1/services/%ff%fe', 404], ['/v1/explain?service=%ff&client=192.0.2.1', 404],
		['/v1/explain?service=quotes&client=%ff%00%0a', 400], ['/v1/persistence?service=%c3', 404]) {
		my ($path, $code) = @$case;
		my ($data, $got) = $sy->api('GET', $path);
		is($got, $code, "$path: $code");
		ok(length $data->{error}, 'with words: ' . $data->{error});
	}
	my ($data, $got) = $sy->api('POST', '/v1/servers/%ff', { wish => 'drain' });
	is($got, 404, 'a server that cannot be');
	ok($sy->api('GET', '/v1/status'), 'and the console is there');
};

subtest 'what the operator did is told by name' => sub {
	$sy->reload("pool p { server s1 127.0.0.1:1; server s2 127.0.0.1:1; }\nvirtual-service plain { listen 127.0.0.1:0; pool p; monitor off; }\n");
	$sy->ctl('drain', 's1');
	$sy->wait_log(qr/info console: operator: server s1: drain/);
	is($sy->seat('plain', 's1')->{why}, 'drained by the operator', 'drain');
	like($sy->ctl('status'), qr/s1\s+plain\s+drain\s.*drained by the operator/, 'as status shows it');
	$sy->ctl('disable', 's2', '--service', 'plain');
	$sy->wait_log(qr/info console: operator: server s2 in service plain: disable/);
	is($sy->seat('plain', 's2')->{why}, 'disabled by the operator', 'disable');
	$sy->ctl('enable', 's1');
	$sy->ctl('weight', 's1', 0);
	$sy->wait_log(qr/info console: operator: server s1: weight 0/);
	is($sy->seat('plain', 's1')->{why}, 'its weight is 0', 'weight');
	$sy->ctl('weight', 's1', 'configured');
	$sy->wait_log(qr/info console: operator: server s1: weight as configured/);
	is($sy->seat('plain', 's1')->{state}, 'unchecked', 'and back');
	like($sy->ctl('check'), qr/./, 'check says that it did something');
};

is($sy->stop, 0, 'it ends well');
done_testing;
