#!/usr/bin/env perl
# The sip monitor with real peers: Kamailio over TCP, TLS and UDP, and servers that answer wrongly.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Certificates;
use IO::Socket::INET;
use Sip qw(request response field registrar lab kamailio);
use Steelyard;
use Way qw(dial say hear);

my $certs = Certificates->new;
$certs->authority('ca');
$certs->issue('server', ca => 'ca', names => ['sip.example.net']);
my $dir = $certs->dir;
my ($kamailio, $kam) = kamailio(certs => $dir);

# A server over UDP that answers the second time only, so that the question must come again.
my $slow = IO::Socket::INET->new(Proto => 'udp', LocalAddr => '127.0.0.1') or die $@;
my $slow_pid = fork // die $!;
if (!$slow_pid) {
	Steelyard::die_with_parent();
	my %seen;
	while (my $from = $slow->recv(my $question, 65535)) {
		$slow->send(response($question, 200, 'OK'), 0, $from) if $seen{ field($question, 'Call-ID') }++;
	}
	POSIX::_exit(0);
}
END { kill 'KILL', $slow_pid if $slow_pid }

my %said = (
	well => sub { response($_[0], 200, 'OK') },
	challenged => sub { response($_[0], 401, 'Unauthorized', "WWW-Authenticate: NTLM realm=\"x\"\r\n") },
	busy => sub { response($_[0], 503, 'Service Unavailable', "Retry-After: 25\r\n") },
	broken => sub { response($_[0], 503, 'Service Unavailable') },
	away => sub { response($_[0], 301, 'Redirect', "Contact: <sip:elsewhere>\r\n") },
	stranger => sub { response($_[0] =~ s/branch=\w+/branch=z9hG4bKx/r, 200, 'OK') },
	web => sub { "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n" },
	cut => sub { substr response($_[0], 200, 'OK'), 0, 30 },
	gone => sub { close $_[1]; POSIX::_exit(0) },
	later => sub { response($_[0], 100, 'Trying') . response($_[0], 486, 'Busy Here') },
);
my %server = map { $_ => registrar($_, answer => $said{$_}) } keys %said;
my ($lab, $fe) = lab('fe1');
my $mute = Steelyard->server('mute', mute => 1);

my @rows = (
	# name, port, monitor, state, reason
	[ 'tcp', $kam->{tcp}, '', 'up', qr/: 200 OK/ ],
	[ 'hops', $kam->{tcp}, 'max-forwards 0;', 'up', qr/: 483 Too Many Hops/ ],
	[ 'tls', $kam->{tls}, "transport tls; verify on; ca $dir/ca.crt; name sip.example.net;", 'up', qr/: 200 OK/ ],
	[ 'tls-name', $kam->{tls}, "transport tls; verify on; ca $dir/ca.crt; name other.example.net;", 'down', qr/does not hold the name other|refused|not trusted/ ],
	[ 'udp', $kam->{udp}, 'transport udp;', 'up', qr/: 200 OK/ ],
	[ 'udp-again', $slow->sockport, 'transport udp;', 'up', qr/: 200 OK/ ],
	[ 'ping', $kam->{tcp}, 'ask ping;', 'up', qr/the ping was answered/ ],
	[ 'register', $kam->{tcp}, 'ask register; user secret; domain example.com;', 'up', qr/: 401 Unauthorized/ ],
	[ 'scheme', $server{challenged}->port, 'ask register; schemes NTLM Kerberos;', 'down', qr/does not offer Kerberos/ ],
	[ 'well', $server{well}->port, '', 'up', qr/: 200 OK/ ],
	[ 'busy', $server{busy}->port, '', 'draining', qr/wants nothing new for 25 s/ ],
	[ 'broken', $server{broken}->port, '', 'down', qr/without a time to come back/ ],
	[ 'away', $server{away}->port, '', 'draining', qr/sends its clients elsewhere/ ],
	[ 'stranger', $server{stranger}->port, '', 'down', qr/another branch in Via/ ],
	[ 'web', $server{web}->port, '', 'down', qr/no good SIP/ ],
	[ 'cut', $server{cut}->port, '', 'down', qr/no answer|in time|timeout|within/ ],
	[ 'gone', $server{gone}->port, '', 'down', qr/closed/ ],
	[ 'later', $server{later}->port, '', 'down', qr/: 486 Busy Here/ ],
	[ 'listed', $server{later}->port, 'healthy 200 486;', 'up', qr/: 486 Busy Here/ ],
	[ 'fe', $fe, 'ask register; schemes NTLM Kerberos TLS-DSK;', 'up', qr/: 401 Unauthorized/ ],
	[ 'fe-options', $fe, '', 'up', qr/: 200 OK/ ],
	[ 'mute', $mute->port, '', 'down', qr/no answer|in time|timeout|within/ ],
);
my $conf = join '', map { my ($name, $port, $monitor) = @$_; <<CONF } @rows;
pool $name { server s 127.0.0.1:$port; }
virtual-service $name { listen 127.0.0.1:0; protocol tcp; pool $name; monitor sip { interval 5s; timeout 5s; rise 1; fall 1; $monitor } }
CONF
my $sy = Steelyard->start($conf);
for my $row (@rows) {
	my ($name, undef, undef, $state, $reason) = @$row;
	my $seat;
	eval {
		Steelyard::wait_for("$name to be $state", sub {
			$seat = $sy->seat($name, 's');
			$seat && $seat->{state} eq $state && ($seat->{why} // '') =~ $reason;
		});
	};
	ok($seat && $seat->{state} eq $state && $seat->{why} =~ $reason, "$name: $state")
		or diag explain { state => $seat->{state}, why => $seat->{why} };
}

# The lab's registrar is one: 401, a challenge of NTLM, 200, ms-keep-alive, and it can drain. t/45-farm.t has its 301.
my $client = dial($fe);
my $said = sub { say($client, request(@_)); hear($client, qr/\r\n\r\n\z/) };
like($said->('REGISTER'), qr{^SIP/2\.0 401 .*WWW-Authenticate: TLS-DSK }s, 'a registrar asks who one is');
like($said->('REGISTER', more => "Authorization: NTLM gssapi-data=\"\"\r\n"),
	qr{^SIP/2\.0 401 .*WWW-Authenticate: NTLM [^\r]*gssapi-data="TlRMTVNTUAACAAAA}s, 'with a challenge, if one asks for it');
my $login = "Authorization: TLS-DSK x\r\nms-keep-alive: UAC;hop-hop=yes\r\nContact: <sip:a\@b>\r\n";
like($said->('REGISTER', more => $login), qr{^SIP/2\.0 200 .*ms-keep-alive: UAS; .*timeout=300}s, 'and lets one in');
ok($lab->ask('drain', 'fe1'), 'it drains');
like($said->('REGISTER', more => $login), qr{^SIP/2\.0 503 .*Retry-After: 30}s, 'nothing new');
like($said->('SERVICE'), qr{^SIP/2\.0 200 }s, 'but what goes on is served');
my $seat = eval { $sy->wait_state('fe-options', 's', 'draining') };
ok($seat, 'and the monitor sees that it drains');
done_testing;
