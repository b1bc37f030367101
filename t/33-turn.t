#!/usr/bin/env perl
# The order in which a turn of the loop serves what is ready: who was ready first comes first, and TLS
# handshakes, which take long, come after all others. The worker stands still while it gets ready, so that
# one turn finds all of it. And what a handshake leaves for later is not left for too long.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Certificates;
use IO::Select;
use IO::Socket::SSL;
use Steelyard;
use Time::HiRes qw(sleep);
use Way qw(dial say hear cut half_close exchange mark lines_since);

my $certs = Certificates->new;
$certs->authority('ca');
$certs->issue('web', ca => 'ca', names => ['web.example.net']);
my $dir = $certs->dir;
my $s1 = Steelyard->server('s1');
my $sy = Steelyard->start(<<CONF);
workers 1;
pool p { server s1 127.0.0.1:@{[ $s1->port ]}; }
virtual-service plain { listen 127.0.0.1:0; pool p; monitor off; }
virtual-service first { listen 127.0.0.1:0; pool p; monitor off; deny 127.0.0.0/8; }
virtual-service last { listen 127.0.0.1:0; pool p; monitor off; deny 127.0.0.0/8; }
virtual-service idle { listen 127.0.0.1:0; pool p; monitor off; idle-timeout 1s; }
virtual-service web { listen 127.0.0.1:0 { tls { certificate $dir/web.crt; key $dir/web.key; } } pool p; monitor off; }
CONF
my %port = map { $_ => $sy->port($_) } qw(plain first last idle web);
my $worker = $sy->pid_of('worker');
my $N = 20;

sub open_now { return scalar @{ $sy->api('GET', '/v1/connections')->{connections} } }
sub stands_still { open my $in, '<', "/proc/$worker/stat" or die $!; return <$in> =~ /\) T / }
# What the log says of `n` connections that ended because of what `get_ready` did in one turn.
sub turn {
	my ($n, $get_ready) = @_;
	mark($sy);
	kill 'STOP', $worker;
	Steelyard::wait_for('the worker to stand still', \&stands_still);
	$get_ready->();
	kill 'CONT', $worker;
	return Steelyard::wait_for("$n lines", sub { my @l = grep { / connection / } lines_since($sy); @l >= $n && \@l });
}

my @plain = map { dial($port{plain}) } 1 .. $N;
Steelyard::wait_for("$N connections", sub { open_now() == $N });
my @ports = map { $_->sockport } @plain;
my $lines = turn($N, sub { cut($_) for @plain });
is_deeply([map { / client=127\.0\.0\.1:(\d+)/ } @$lines], \@ports, 'who is ready first is served first');

# What they say is no TLS, so it is told at once.
my @web = map { dial($port{web}) } 1 .. $N;
Steelyard::wait_for("$N connections", sub { open_now() == $N });
# Each answer takes a turn, and each turn begins one handshake at least.
open_now() for 1 .. $N;
$lines = turn($N + 2, sub {
	my @other = dial($port{first});
	for (@web) { say($_, "\x15\x03\x01\x00\x02\x02\x28"); half_close($_) }
	push @other, dial($port{last});
});
my @services = map { / service=(\w+)/ } @$lines;
is_deeply([sort @services[0, 1]], ['first', 'last'], 'handshakes come after all others of the turn');
is_deeply([@services[2 .. $N + 1]], [('web') x $N], 'and none is left out');
is(exchange($port{plain}, 'hi'), 's1: hi', 'all goes on');
# A client without TCP_NODELAY waits for an acknowledgement of its Finished: the tickets bring it. Left for
# the first answer they would come after two seconds.
my $quick = 0;
for (1 .. 5) {
	my $client = IO::Socket::SSL->new(PeerAddr => '127.0.0.1', PeerPort => $port{web}, SSL_verify_mode => 0, SSL_version => 'TLSv1_3')
		or die $SSL_ERROR;
	$quick++ if IO::Select->new($client)->can_read(1);
}
cmp_ok($quick, '>', 0, 'tickets come before the client has said anything');

# Who spoke while the worker stood still was not silent for that long.
my $sock = dial($port{idle});
say($sock, "one\n");
is(hear($sock, qr/\n/), "s1: one\n", 'a connection that may be silent for a second');
kill 'STOP', $worker;
Steelyard::wait_for('the worker to stand still', \&stands_still);
say($sock, "two\n");
sleep 1.3;
kill 'CONT', $worker;
is(hear($sock, qr/\n/), "s1: two\n", 'is heard before it is found to be too old');

is($sy->stop, 0, 'it ends well');
done_testing;
