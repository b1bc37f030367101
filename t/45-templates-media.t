#!/usr/bin/env perl
# Ready-made templates of SIP and TURN farms carry traffic, on every port that they open, with Kamailio and
# coturn. A server that dies is replaced by the other one.
use strict;
use warnings;
use lib ($ENV{STEELYARD_SRC} || '.') . '/t/lib';
use Certificates;
use Farm;
use IO::Select;
use IO::Socket::SSL;
use Sip qw(request kamailio);
use Steelyard;
use Test::More;
use Turn;
use Way qw(dial hear);

plan skip_all => 'needs root for the ports of the services' if $> != 0;
plan skip_all => 'needs Kamailio and coturn' if system('command -v kamailio turnserver turnutils_uclient >/dev/null 2>&1');

my $certs = Certificates->new;
$certs->authority('ca');
$certs->issue('server', ca => 'ca', names => ['pool.lab.test']);
my ($crt, $key) = map { $certs->path($_) } qw(server.crt server.key);
my %host = map { $_ => Turn::host() } qw(sip1 sip2 turn1 turn2);
my %vip = map { $_ => Turn::host() } qw(sip turn);
my %run;
for my $n (1, 2) {
	($run{"sip$n"}) = kamailio(certs => $certs->dir, host => $host{"sip$n"}, name => "sip$n",
		port => { tcp => 5060, udp => 5060, tls => 5061 });
	$run{"turn$n"} = Turn::Server->new("turn$n", host => $host{"turn$n"}, args => ['--cert', $crt, '--pkey', $key,
		'--tls-listening-port=5349', '--no-dtls', '--proc-user=root', '--proc-group=root']);
}
sub stop { my $r = delete $run{ $_[0] }; $r->can('kill') ? $r->kill : $r->end }
sub servers { my $kind = shift; join ' ', map { "server $kind$_ $host{qq{$kind$_}};" } 1, 2 }

my $quick = 'check-interval 1s; slow-start 0;';
my $sy = Steelyard->start(<<"CONF");
include @{[ Steelyard::src_dir() ]}/conf.d/templates/*.conf;
deploy sip-farm { virtual-address $vip{sip}; sip-servers { @{[ servers('sip') ]} } $quick drain-close 1s; }
deploy turn-farm { virtual-address $vip{turn}; turn-servers { @{[ servers('turn') ]} } $quick snat on; also { lint snat off; } }
CONF
Farm::wait_all_up($sy);

# ---- SIP ----
sub sip {
	my ($port, $over) = split m{/}, $_[0];
	my $sock = $over eq 'tls' ? IO::Socket::SSL->new(PeerAddr => $vip{sip}, PeerPort => $port, SSL_verify_mode => 0)
		: $over eq 'udp' ? IO::Socket::INET->new(PeerAddr => $vip{sip}, PeerPort => $port, Proto => 'udp') : dial($port, address => $vip{sip});
	$sock or return 'nobody';
	my $said = request('REGISTER', more => "Contact: <sip:a\@192.0.2.1>\r\n") =~ s{SIP/2\.0/TCP ([^;]+)}{'SIP/2.0/' . uc($over) . " $1;rport"}er;
	my $got = '';
	for (1 .. ($over eq 'udp' ? 5 : 1)) {
		syswrite $sock, $said;
		next unless IO::Select->new($sock)->can_read($over eq 'udp' ? 1 : 20);
		sysread $sock, $got, 4096;
		last if $got;
	}
	return $got =~ m{^SIP/2\.0 200 .*^Server: (\w+)}ms ? $1 : $got || 'nothing';
}
# A drain ends, although phones stay for days: who is silent is let go, and registers at another server.
{
	my $phone = dial(5060, address => $vip{sip});
	my $ask = sub { syswrite $_[0], request('REGISTER', more => "Contact: <sip:a\@192.0.2.1>\r\n"); hear($_[0], qr/\r\n\r\n\z/) =~ /^Server: (\w+)/m ? $1 : 'nobody' };
	my $on = $ask->($phone);
	$sy->ctl('drain', $on);
	is(Way::ending($phone), 'end', "SIP farm: $on drains, and a phone that says nothing is let go in order");
	$sy->api('DELETE', '/v1/persistence?service=sip-5060');
	isnt($ask->(dial(5060, address => $vip{sip})), $on, 'and comes back to the other');
	$sy->ctl('enable', $on);
	$sy->api('DELETE', '/v1/persistence?service=sip-5060');
	$sy->api('GET', '/v1/connections');
}
Farm::replaced('SIP farm', 'sip', \&sip, \&stop, ['5060/tcp'], ['5061/tls'], ['5060/udp']);

# ---- TURN ----
sub relayed {
	my (@how) = @_;
	# TLS goes through to coturn; turnutils_uclient loses what comes in one read with something else there.
	if ($how[0] eq 'tls') {
		my $sock = IO::Socket::SSL->new(PeerAddr => $vip{turn}, PeerPort => $how[1], SSL_verify_mode => 0) or return 0;
		my $client = Turn::Client->new($vip{turn}, $how[1], sock => $sock);
		return $client->allocate && $client->refresh(0) ? 1 : 0;
	}
	my $said = `turnutils_uclient -y -c -m 2 -n 10 -z 5 -u $Turn::USER -w $Turn::PASSWORD @how $vip{turn} 2>&1`;
	return $said =~ /Total lost packets 0 / || !diag $said;
}
my %turn = (UDP => ['-p', 3478], TCP => ['-t', '-p', 3478], TLS => ['tls', 5349]);
ok(relayed(@{ $turn{$_} }), "TURN farm: $_ is relayed") for sort keys %turn;
stop('turn1');
$sy->wait_down('turn-3478-udp', 'turn1');
ok(relayed(@{ $turn{$_} }), "TURN farm: and without turn1, $_") for sort keys %turn;

is($sy->stop, 0, 'the end');
done_testing;
