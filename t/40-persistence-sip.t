#!/usr/bin/env perl
# Persistence of SIP: the messages of a call, or all that a user does, from any connection.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Sip qw(request field registrar);
use Steelyard;
use Way qw(dial say hear);

my @reg = map { registrar("r$_") } 1 .. 3;
my $servers = join ' ', map { "server r$_ 127.0.0.1:" . $reg[$_ - 1]->port . ';' } 1 .. 3;
my $sy = Steelyard->start(<<"CONF");
pool reg { $servers }
virtual-service call { listen 127.0.0.1:0; protocol sip { mode connection; } pool reg; scheduler round-robin; monitor off;
	persistence sip; }
virtual-service user { listen 127.0.0.1:0; protocol sip { mode connection; } pool reg; scheduler round-robin; monitor off;
	persistence sip { by aor; } }
CONF

# Which server answers a request on a connection of its own.
sub server_of {
	my ($service, $method, %is) = @_;
	my $sock = dial($sy->port($service));
	say($sock, request($method, %is));
	return field(hear($sock, qr/\r\n\r\n/), 'Server');
}

my (%call, %user);
for my $i (1 .. 6) {
	my $first = server_of('call', 'OPTIONS', id => "call-$i", user => 'anna');
	$call{$first}++;
	is(server_of('call', 'OPTIONS', id => "call-$i", cseq => 2, user => 'bert'), $first, "call $i: the next message, too");
	$first = server_of('user', 'REGISTER', id => "reg-$i", user => "user$i");
	$user{$first}++;
	is(server_of('user', 'REGISTER', id => "other-$i", user => "user$i"), $first, "user $i: another device, too");
}
# Each worker has a turn of its own.
cmp_ok(scalar keys %call, '>', 1, 'calls are spread');
cmp_ok(scalar keys %user, '>', 1, 'users, too');
my $entries = $sy->api('GET', '/v1/persistence?service=call')->{entries};
is_deeply([sort map { $_->{key} } @$entries], [map { "call-$_" } 1 .. 6], 'the table shows the calls');
$entries = $sy->api('GET', '/v1/persistence?service=user')->{entries};
is(scalar(grep { $_->{key} =~ /user\d\@example\.com/ } @$entries), 6, 'and the users');
is($sy->stop, 0, 'it ends well');
done_testing();
