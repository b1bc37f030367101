#!/usr/bin/env perl
# steelyardctl plan: what a reload would change, told by comparing what the loader makes of a file with
# what runs; and steelyardctl top on a terminal.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Steelyard;
use Way qw(dial say hear);

my ($s1, $s2) = map { Steelyard->server($_) } qw(s1 s2);
my ($p1, $p2) = map { $_->port } $s1, $s2;
my $conf = <<"CONF";
pool p { server s1 127.0.0.1:$p1; server s2 127.0.0.1:$p2; }
pool q { server s1 127.0.0.1:$p1; }
virtual-service web { listen 127.0.0.1:0; pool p; persistence source { timeout 10m; } monitor tcp { interval 200ms; } }
virtual-service old { listen 127.0.0.1:0; pool q; monitor off; drain-timeout 5m; }
CONF
my $sy = Steelyard->start($conf);
$sy->wait_up('web', $_) for qw(s1 s2);
my @conns = map { my $sock = dial($sy->port($_)); say($sock, "hello\n"); hear($sock, qr/\n/); $sock } qw(web web old);
my $running = $sy->api('GET', '/v1/generations')->{current};

sub plan_of {
	my $text = shift;
	open my $out, '>', "$sy->{dir}/candidate.conf" or die $!;
	my $head = do { open my $in, '<', $sy->{file} or die $!; local $/; <$in> =~ s/^pool.*//msr };
	print $out $head, $text;
	close $out;
	return $sy->ctl('plan', "$sy->{dir}/candidate.conf", '--daemon', Steelyard::steelyardd(), '--modules', Steelyard::modules());
}

my ($text, $code) = plan_of($conf);
is($code, 0, 'the same file') or diag $text;
like($text, qr/^Nothing would change\.$/m, 'nothing would change');
like($text, qr/web: 1 of 2 servers, 2 connections on each instead of 1/, 'with one server less');
like($text, qr/old is down: 0 of 1 servers, 1 wanted/, 'and who would not live through it');

($text, $code) = plan_of(<<"CONF");
pool p { server s1 127.0.0.1:$p1; server s3 127.0.0.1:$p2; }
virtual-service web { listen 127.0.0.1:0; pool p; idle-timeout 1h; monitor tcp { interval 200ms; } }
virtual-service new { listen 127.0.0.1:0; pool p; monitor off; }
CONF
is($code, 0, 'another') or diag $text;
like($text, qr/virtual-service web changes; 2 connections go on/, 'what changes');
like($text, qr/^    - persistence source \{.*timeout 10m;/m, 'what goes of it');
like($text, qr/^    \+ idle-timeout 1h;$/m, 'what comes');
like($text, qr/^virtual-service old goes$/m, 'a service that goes');
like($text, qr/^virtual-service new is new$/m, 'one that is new');
like($text, qr/virtual-service old goes: its 1 connections may go on for 5m/, 'what its clients notice');
like($text, qr/pool p: server s2 goes: no new clients; its \d connections go on/, 'and those of a server');
like($text, qr/virtual-service web: 1 clients are kept by the persistence that changes/, 'and of persistence');
is($sy->api('GET', '/v1/generations')->{current}, $running, 'nothing was done');

($text, $code) = plan_of("pool p { server s1 nonsense:; }\n");
is($code, 1, 'one that would be refused');
like($text, qr/candidate\.conf:\d+: .*would be refused/s, 'with the reasons');
is($sy->{pid} && kill(0, $sy->{pid}), 1, 'and the daemon runs');

subtest 'top' => sub {
	my $file = "$sy->{dir}/typescript";
	my $ctl = Steelyard::steelyardctl();
	plan skip_all => 'script is not installed' unless -x '/usr/bin/script';
	my $pid = open my $keys, '|-', "TERM=xterm exec script -qfec 'stty rows 12 cols 70; exec $ctl -s $sy->{control} top' $file > /dev/null" or die $!;
	$keys->autoflush(1);
	my $screen = sub { open my $in, '<', $file or return ''; local $/; <$in> // '' };
	Steelyard::wait_for('the screen', sub { $screen->() =~ /SERVICE +STATE/ && $screen->() =~ /old +up/ });
	my $drawn = $screen->();
	like($drawn, qr/\033\[\?1049h/, 'on a screen of its own');
	like($drawn, qr/steelyard \S+  up .*2 services, all well/, 'one look');
	my ($first) = $drawn =~ /\033\[H(.*?)\033\[J/s;
	my @lines = map { s/\033\[[\d;?]*[a-zA-Z]|\r//gr } split /\n/, $first;
	cmp_ok(scalar @lines, '<=', 12, 'no more lines than the terminal has');
	is(scalar(grep { length > 70 } @lines), 0, 'and none is wider');
	print $keys 'w';
	Steelyard::wait_for('only what is wrong', sub { $screen->() =~ /only what is wrong/ });
	$sy->ctl('drain', 's2');
	Steelyard::wait_for('it to be live', sub { $screen->() =~ /web +degraded/ });
	print $keys 'q';
	close $keys;
	is($? >> 8, 0, 'q quits');
	like($screen->(), qr/\033\[\?1049l/, 'and gives the screen back');
	my ($text, $code) = $sy->ctl('top');
	is($code, 1, 'without a terminal');
	like($text, qr/needs a terminal/, 'it says so');
};
is($sy->stop, 0, 'it ends well');
done_testing;
