#!/usr/bin/env perl
# A configuration on trial: it stays when it is confirmed, and goes back by itself when it is not, or
# when it is worse than what was before; connections see nothing of it.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Steelyard;
use Time::HiRes qw(time);
use Way qw(dial say hear);

my ($s1, $s2) = map { Steelyard->server($_) } qw(s1 s2);
my $conf = sub {
	my ($port2, $more) = @_;
	return <<"CONF" . ($more // '');
pool p { server s1 127.0.0.1:@{[ $s1->port ]}; server s2 127.0.0.1:$port2; }
virtual-service web { listen 127.0.0.1:0; pool p; scheduler round-robin; monitor tcp { interval 100ms; rise 1; fall 1; } }
CONF
};
my $good = $conf->($s2->port);
my $sy = Steelyard->start($good);
$sy->wait_up('web', $_) for qw(s1 s2);
my $conn = dial($sy->port('web'));
say($conn, "hello\n");
like(hear($conn, qr/\n/), qr/hello/, 'a connection');
my $more = "virtual-service more { listen 127.0.0.1:0; pool p; monitor off; }\n";
sub services { join ' ', sort map { $_->{name} } @{ $sy->api('GET', '/v1/services')->{services} } }

my ($text, $code) = $sy->ctl('confirm');
is($code, 1, 'nothing to confirm');
like($text, qr/no configuration is on trial/, 'it says so');
($text, $code) = $sy->ctl('reload', '--confirm', 'soon');
is($code, 1, 'a time that is none');
like($text, qr/such as 5m/, 'in words');

subtest 'confirmed' => sub {
	$sy->write_conf($conf->($s2->port, $more));
	($text, $code) = $sy->ctl('reload', '--confirm', '5m');
	is($code, 0, 'a reload on trial') or diag $text;
	like($text, qr/on trial for 5m/, 'it says what to do');
	is(services(), 'more web', 'the new one is in use');
	like(scalar $sy->ctl('status'), qr/on trial until \d{4}-/, 'status tells until when');
	kill 'USR2', $sy->{pid};
	$sy->wait_log(qr/upgrade: waiting: a configuration is on trial/);
	($text, $code) = $sy->ctl('confirm');
	is($code, 0, 'confirmed') or diag $text;
	unlike(scalar $sy->ctl('status'), qr/on trial/, 'and over');
	is(services(), 'more web', 'it stays');
};
$sy->stop;

subtest 'not confirmed' => sub {
	$sy = Steelyard->start($good);
	$sy->wait_up('web', $_) for qw(s1 s2);
	my $port = $sy->port('web');
	$conn = dial($port);
	say($conn, "one\n");
	hear($conn, qr/\n/);
	$sy->write_conf($conf->($s2->port, $more));
	my $began = time;
	($text, $code) = $sy->ctl('reload', '--confirm', '3s');
	is($code, 0, 'a reload on trial') or diag $text;
	is(services(), 'more web', 'the new one is in use');
	($code, $text) = $sy->reload;
	ok($code, 'another reload meanwhile does not confirm');
	$sy->wait_log(qr/going back to the configuration of generation 1, as generation \d+: it was not confirmed in time/);
	cmp_ok(time - $began, '>', 2.5, 'not before its time');
	Steelyard::wait_for('the one before', sub { services() eq 'web' });
	is($sy->port('web'), $port, 'at the same address');
	is($sy->seat('web', 's2')->{state}, 'up', 'with its health');
	say($conn, "two\n");
	like(hear($conn, qr/\n/), qr/two/, 'the connection saw nothing of it');
	like(join("\n", map { $_->{words} } @{ $sy->api('GET', '/v1/events')->{events} }), qr/trial/, 'an event');
};

subtest 'worse' => sub {
	my $began = time;
	$sy->write_conf($conf->(1));
	($text, $code) = $sy->ctl('reload', '--confirm', '10m');
	is($code, 0, 'one with a server that is not there') or diag $text;
	$sy->wait_log(qr/going back to the configuration of generation \d+, as generation \d+: 1 of 2 servers take new clients, 100 % before and 50 % now/);
	cmp_ok(time - $began, '<', 60, sprintf 'long before it had to be confirmed (%.1f s)', time - $began);
	$sy->wait_up('web', 's2');
	like(Way::exchange($sy->port('web'), 'three'), qr/three/, 'all is well again');
};
is($sy->stop, 0, 'it ends well');
done_testing;
