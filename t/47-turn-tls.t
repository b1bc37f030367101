#!/usr/bin/env perl
# TURN over TLS that is terminated here, and monitor turn against coturn: each depth, over UDP, TCP and TLS;
# and what it says of servers that are not as they should be.
use strict;
use warnings;
use lib ($ENV{STEELYARD_SRC} || '.') . '/t/lib';
use Certificates;
use File::Temp ();
use IO::Socket::IP;
use IO::Socket::SSL;
use Steelyard;
use Test::More;
use Turn;

plan skip_all => 'needs coturn' if system('command -v turnserver turnutils_uclient >/dev/null 2>&1');

my $certs = Certificates->new;
$certs->authority('ca');
$certs->issue('turn', ca => 'ca', names => ['turn.lab.test']);
my $dir = $certs->dir;
my $coturn = Turn::Server->new('one', args => ['--cert', "$dir/turn.crt", '--pkey', "$dir/turn.key",
	'--tls-listening-port=5349', '--no-dtls', '--proc-user=root', '--proc-group=root']);
my $host = $coturn->{host};
my ($good, $bad) = ("$dir/good", "$dir/bad");
$certs->write_file('good', "$Turn::PASSWORD\n");
$certs->write_file('bad', "wrong\n");

# A server of UDP that answers all with something.
sub answers {
	my $code = shift;
	my $address = Turn::host();
	my $sock = IO::Socket::IP->new(LocalHost => $address, LocalPort => 3478, Type => Socket::SOCK_DGRAM) or die $@;
	my $pid = fork // die "fork: $!";
	if (!$pid) {
		Steelyard::die_with_parent();
		while (1) {
			my $from = $sock->recv(my $said, 65536) // next;
			$sock->send($code->($said), 0, $from);
		}
	}
	push @main::helpers, $pid;
	return $address;
}
our @helpers;
my $owner = $$;
END {
	if ($$ == $owner) {
		local $?;
		kill 'KILL', @helpers;
		waitpid $_, 0 for @helpers;
	}
}
sub error { my ($code, $text, @more) = @_; sub {
	my $tid = substr $_[0], 4, 16;
	my $value = pack('x2CC', int $code / 100, $code % 100) . $text;
	Turn::message(0x0113, $tid, Turn::attr(0x0009, $value) . join '', @more) } }
my $noise = answers(sub { 'no TURN' });
my $full = answers(error(508, 'Insufficient Capacity'));
my $moved = answers(error(300, 'Try Alternate', Turn::attr(0x8023, pack 'xCna4', 1, 3478, pack 'C4', 192, 0, 2, 9)));
my $translated = answers(sub { Turn::message(0x0101, substr($_[0], 4, 16),
	Turn::attr(0x0020, Turn::xor_addr('192.0.2.77', 4711))) });

my $user = "username $Turn::USER; password $good;";
my @cases = (
	# name, server, monitor, state, words
	['bind-udp', "$host:3478", 'depth binding;', 'up', qr/: answers, we are 127\./],
	['bind-tcp', "$host:3478", 'depth binding; transport tcp;', 'up', qr/: answers/],
	['ask-udp', "$host:3478", '', 'up', qr/: asks for credentials, realm lab\.test/],
	['make-udp', "$host:3478", "depth allocate; $user", 'up', qr/: allocates at \Q$host\E:/],
	['make-tcp', "$host:3478", "depth allocate; transport tcp; $user", 'up', qr/: allocates at/],
	['relay-udp', "$host:3478", "depth relay; $user", 'up', qr/: relays there and back at \Q$host\E:/],
	['relay-tcp', "$host:3478", "depth relay; transport tcp; $user", 'up', qr/: relays there and back/],
	['relay-tls', "$host:5349", "depth relay; transport tls; verify on; ca $dir/ca.crt; name turn.lab.test; $user",
		'up', qr/: relays there and back/],
	['password', "$host:3478", "depth allocate; username $Turn::USER; password $bad;", 'down', qr/refuses our user name and password/],
	['noise', "$noise:3478", '', 'down', qr/no STUN message/],
	['full', "$full:3478", '', 'down', qr/Allocate refused: 508 Insufficient Capacity/],
	['moved', "$moved:3478", '', 'draining', qr/sends clients on to 192\.0\.2\.9:3478/],
	['translated', "$translated:3478", 'depth binding;', 'up', qr/sees us as 192\.0\.2\.77:4711: an address translation/],
);
my $conf = join '', map {
	my ($name, $server, $monitor) = @$_;
	"pool $name { server s $server; }\nvirtual-service $name { listen 127.0.0.1:0; protocol tcp; pool $name; " .
		"monitor turn { interval 30s; timeout 25s; fall 1; $monitor } }\n"
} @cases;
my $sy = Steelyard->start("workers 1;\n$conf" . <<"CONF");
virtual-service tls {
	listen 127.0.0.1:0 { tls { certificate $dir/turn.crt; key $dir/turn.key; } }
	protocol turn; pool ask-udp; monitor off;
}
pool behind { server s $host:5349; }
virtual-service shared {
	listen 127.0.0.1:0; protocol turn { other tls { pool behind; } } pool ask-udp; monitor off;
}
pool relief { server full $full:3478; server good $host:3478; }
virtual-service relief {
	listen 127.0.0.1:0/udp; protocol turn { relief 1m; } pool relief; scheduler round-robin; monitor off;
}
CONF

for my $case (@cases) {
	my ($name, undef, undef, $state, $words) = @$case;
	eval { $sy->wait_state($name, 's', $state) };
	like($sy->seat($name, 's')->{why}, $words, "$name: $state, in words");
}
# Each probe gives back what it took.
cmp_ok(scalar(() = $coturn->text =~ /new, realm/g) - scalar(() = $coturn->text =~ /delete: realm/g), '<', 12,
	'probes leave few allocations behind');

my $port = $sy->port('tls');
my $out = `turnutils_uclient -t -S -y -c -m 1 -n 10 -z 5 -u $Turn::USER -w $Turn::PASSWORD -p $port 127.0.0.1 2>&1`;
like($out, qr/Total lost packets 0 /, 'turnutils_uclient over TLS that ends here') or diag $out;
my $ssl = IO::Socket::SSL->new(PeerHost => '127.0.0.1', PeerPort => $port, SSL_verify_mode => 0) or die $SSL_ERROR;
my $client = Turn::Client->new(undef, undef, sock => $ssl);
ok($client->allocate, 'an allocation over TLS');
my ($service) = grep { $_->{name} eq 'tls' } @{ $sy->api('GET', '/v1/services')->{services} };
is($service->{figures}{allocations}, 1, 'which is counted');

# One address for TURN in clear and for TLS that ends at the server, told apart by the first byte.
my $shared = $sy->port('shared');
$ssl = IO::Socket::SSL->new(PeerHost => '127.0.0.1', PeerPort => $shared, SSL_ca_file => "$dir/ca.crt",
	SSL_verifycn_scheme => 'default', SSL_verifycn_name => 'turn.lab.test', SSL_hostname => 'turn.lab.test');
ok($ssl, "TLS reaches the server with the server's own certificate") or diag $SSL_ERROR;
ok($ssl && Turn::Client->new(undef, undef, sock => $ssl)->allocate, 'and carries an allocation');
my $clear = IO::Socket::IP->new(PeerHost => '127.0.0.1', PeerPort => $shared) or die $@;
ok(Turn::Client->new(undef, undef, sock => $clear)->allocate, 'TURN in clear at the same address');

# Who says that it has no room is asked less often.
my $relief = $sy->port('relief');
my $made = grep { Turn::Client->new('127.0.0.1', $relief)->allocate } 1 .. 60;
cmp_ok($made, '>=', 36, "of 60 allocations $made did not meet the server that has no room");
cmp_ok($made, '<', 60, 'which is asked all the same, now and then');
$sy->stop;
done_testing();
