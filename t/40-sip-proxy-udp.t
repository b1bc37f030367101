#!/usr/bin/env perl
# protocol sip in mode proxy over UDP: what is lost is said again, transports change on the way, answers find
# their way by another connection; calls by SIPp at a rate.
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Certificates;
use IO::Socket::SSL;
use Sip qw(request response field messages kamailio sipp sipp_server);
use Steelyard;
use Way qw(dial say hear);

my $certs = Certificates->new;
$certs->authority('ca');
$certs->issue('server', ca => 'ca', names => ['sip.example.net']);
my $dir = $certs->dir;
my ($kamailio, $kam) = kamailio(certs => $dir);

# A server of ours over UDP: it hears and answers when the test says so.
my $server = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Proto => 'udp') or die $!;
my ($at, $from) = ($server->sockport);
my $other = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Proto => 'udp') or die $!;
sub server_hears {
	my ($pattern) = @_;
	for (1 .. 20) {
		return "nothing ($pattern)" unless IO::Select->new($server)->can_read($Steelyard::LIMIT);
		$from = recv $server, my $bytes, 65536, 0;
		return $bytes if $bytes =~ $pattern;
	}
}
sub server_says { send $server, $_[0], 0, $from }
# One over TCP that answers by a new connection to where the Via says.
my $elsewhere = Steelyard->server('elsewhere', each => sub {
	my $sock = shift;
	my $buffer = '';
	while (sysread $sock, $buffer, 65536, length $buffer) {
		for my $message (messages(\$buffer)) {
			my ($host, $port) = $message =~ m{^Via: SIP/2\.0/TCP ([\d.]+):(\d+)}m or next;
			my $back = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port) or next;
			syswrite $back, response($message, 200, 'OK');
			sysread $back, my $end, 1;
		}
	}
});

my ($uas1, $uas2) = map { sipp_server('u1', scenario => Sip::callee()) } 1 .. 2;
my $uas_tcp = sipp_server('t1', scenario => Sip::callee());
my $both = Steelyard::free_port('both');
my $sy = Steelyard->start(<<"CONF");
pool own { server o 127.0.0.1:$at; }
pool elsewhere { server e 127.0.0.1:@{[ $elsewhere->port ]}; }
pool udp { server u1 127.0.0.1:$uas1->{port}; server u2 127.0.0.1:$uas2->{port}; }
pool over-udp { transport udp; server u1 127.0.0.1:$uas1->{port}; server u2 127.0.0.1:$uas2->{port}; }
pool own-udp { transport udp; server o 127.0.0.1:$at; }
pool pair { transport udp; server b 127.0.0.1:$at; server o 127.0.0.1:@{[ $other->sockport ]}; }
virtual-service busy { listen 127.0.0.1:0/udp; protocol sip { mode proxy; } pool pair; scheduler round-robin; monitor off; }
virtual-service less { listen 127.0.0.1:0/udp; protocol sip { mode proxy; } pool pair; scheduler round-robin; monitor off; }
pool over-tcp { transport tcp; server t 127.0.0.1:$uas_tcp->{port}; }
pool gone { server g 127.0.0.1:1; }
pool two { server g 127.0.0.1:1; server o 127.0.0.1:$at; }
pool kam-tls { tls { ca $dir/ca.crt; name sip.example.net; } server k 127.0.0.1:$kam->{tls}; }
virtual-service own { listen 127.0.0.1:$both/udp; protocol sip { mode proxy; } pool own; monitor off; idle-timeout 30s; }
virtual-service own-tcp { listen 127.0.0.1:0; protocol sip { mode proxy; } pool own-udp; monitor off; }
virtual-service elsewhere { listen 127.0.0.1:0; protocol sip { mode proxy; } pool elsewhere; monitor off; }
virtual-service udp { listen 127.0.0.1:0/udp; protocol sip { mode proxy; } pool udp; scheduler round-robin; persistence sip; monitor off; }
virtual-service to-udp { listen 127.0.0.1:0; protocol sip { mode proxy; } pool over-udp; scheduler round-robin; persistence sip; monitor off; }
virtual-service to-tcp { listen 127.0.0.1:0/udp; protocol sip { mode proxy; } pool over-tcp; persistence sip; monitor off; }
virtual-service gone { listen 127.0.0.1:0/udp; protocol sip { mode proxy; } pool gone; monitor off; }
virtual-service two { listen 127.0.0.1:0/udp; protocol sip { mode proxy; } pool two; scheduler round-robin; monitor off; }
virtual-service tls { listen 127.0.0.1:0 { tls { certificate $dir/server.crt; key $dir/server.key; } } protocol sip { mode proxy; } pool kam-tls; monitor off; }
CONF
my %port = map { $_ => $sy->port($_) } qw(own own-tcp elsewhere udp to-udp to-tcp gone two tls busy less);

sub figures {
	my ($service) = @_;
	my ($found) = grep { $_->{name} eq $service } @{ $sy->api('GET', '/v1/services')->{services} };
	return $found->{figures};
}
sub client { return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port{ $_[0] }, Proto => 'udp') }
sub ask_udp { $_[0]->send($_[1] =~ s{SIP/2\.0/TCP}{SIP/2.0/UDP}r) }
sub hears {
	my ($sock, $pattern) = @_;
	for (1 .. 20) {
		return "nothing ($pattern)" unless IO::Select->new($sock)->can_read($Steelyard::LIMIT);
		$sock->recv(my $bytes, 65536);
		return $bytes if $bytes =~ $pattern;
	}
}

subtest 'what is lost is said again' => sub {
	my $client = client('own');
	my $invite = request('INVITE', id => 'lost', branch => 'z9hG4bKlost');
	ask_udp($client, $invite);
	like(hears($client, qr/^SIP/), qr{^SIP/2\.0 100 Trying}, 'an INVITE has 100 at once');
	my $first = server_hears(qr/^INVITE/);
	like($first, qr{^INVITE .*\r\nVia: SIP/2\.0/UDP 127\.0\.0\.1:$both;branch=\S+;rport[;\r]}, 'the server is told rport');
	is(server_hears(qr/^INVITE/), $first, 'it is said again until the server has heard it');
	server_says(response($first, 180, 'Ringing'));
	like(hears($client, qr{^SIP/2\.0 18}), qr{180}, 'it rings');
	server_says(response($first, 486, 'Busy Here'));
	like(hears($client, qr{^SIP/2\.0 4}), qr{^SIP/2\.0 486 }, 'a failure');
	like(server_hears(qr/^ACK/), qr/^To: .*;tag=server\r$/m, 'the server has our ACK');
	like(hears($client, qr{^SIP/2\.0 4}), qr{^SIP/2\.0 486 }, 'the client hears it again, as long as it gives none');
	server_says(response($first, 486, 'Busy Here'));
	like(server_hears(qr/^ACK/), qr/^ACK/, 'the server, too, if it asks again');
	ask_udp($client, request('ACK', id => 'lost', branch => 'z9hG4bKlost', to => ';tag=server')) for 1, 2;
	ask_udp($client, request('OPTIONS', id => 'then'));
	my $options = server_hears(qr/^(?:OPTIONS|ACK)/);
	like($options, qr/^OPTIONS/, 'the ACK of the client goes no further');
	server_says(response($options, 200, 'OK') =~ s/Content-Length: 0\r\n//r . 'body');
	my $got = hears($client, qr/OPTIONS/);
	like($got, qr{^SIP/2\.0 200 .*Content-Length: 4\r\n\r\nbody\z}s, 'a body without length gets one');
	ask_udp($client, request('OPTIONS', id => 'then', branch => 'z9hG4bK-then-OPTIONS-1'));
	is(hears($client, qr/OPTIONS/), $got, 'a request that comes again gets its answer again');
	ask_udp($client, request('INVITE', id => 'taken'));
	$invite = server_hears(qr/^INVITE.*: taken\r/s);
	for my $time (qw(once again)) {
		server_says(response($invite, 200, 'OK', "Contact: <sip:b\@127.0.0.1:$at>\r\n"));
		like(hears($client, qr{^SIP/2\.0 200.*INVITE}s), qr{^SIP/2\.0 200 }, "a success, $time");
		ask_udp($client, request('ACK', id => 'taken', to => ';tag=server'));
		like(server_hears(qr/^ACK.*: taken\r/s), qr/^ACK/, "and the client's ACK to it");
	}
	$client->send("\r\n\r\n");
	ask_udp($client, "OPTIONS sip:x SIP/2.0\r\nno field\r\n\r\n");
	ask_udp($client, request('OPTIONS', id => 'bad') =~ s/Content-Length: 0/Content-Length: 7/r);
	like(hears($client, qr/^SIP/), qr{^SIP/2\.0 400 }, 'what is cut off gets 400');
	is_deeply([ @{ figures('own') }{qw(transactions requests_invite requests_ack)} ], [ 0, 2, 2 ], 'nothing is left open, and what came twice is counted once');
};

subtest 'keep-alives' => sub {
	my $client = client('own');
	my $before = figures('own')->{keepalives};
	$client->send($_) for "\r\n\r\n", "\r\n", "\0";
	my $transaction = 'abcdefghijkl';
	my $stun = sub { my ($type, $attributes) = @_; return pack('nnN', $type, length $attributes, 0x2112a442) . $transaction . $attributes };
	$client->send($stun->(0x0011, ''));
	$client->send($stun->(0x0001, pack 'nna4', 0x8022, 4, 'test'));
	my $got = hears($client, qr/./s);
	my ($type, $len, $cookie, $same, $attribute, $size, $family, $port, $ip) = unpack 'nnNa12nnnnN', $got;
	is_deeply([ $type, $len, $cookie, $same ], [ 0x0101, 12, 0x2112a442, $transaction ], 'only STUN is answered (RFC 5626 4.4.2)');
	is_deeply([ $attribute, $size, $family, $port ^ 0x2112, $ip ^ 0x2112a442 ], [ 0x20, 8, 1, $client->sockport, 0x7f000001 ], 'with where it comes from');
	$client->send($stun->(0x0001, pack 'nnN', 0x0003, 4, 6));
	is(unpack('n', hears($client, qr/./s)), 0x0111, 'what must be understood, and is not, is refused');
	ask_udp($client, request('OPTIONS', id => 'alive'));
	my $options = server_hears(qr/^OPTIONS.*: alive\r/s);
	server_says(response($options, 200, 'OK'));
	like(hears($client, qr/./s), qr{^SIP/2\.0 200 }, 'the next that comes is the answer to a request');
	is(figures('own')->{keepalives}, $before + 6, 'all are counted');
};

# So many requests at once, in parts; their answers by status.
sub many {
	my ($n) = @_;
	my ($client, %status, %done) = (client('own'));
	for (my $i = 0; $i < $n; $i += 50) {
		my %open = map { $_ => 1 } $i .. $i + 49;
		ask_udp($client, request('OPTIONS', id => "many-$_")) for keys %open;
		while (%open) {
			my ($ready) = IO::Select->new($server, $client)->can_read($Steelyard::LIMIT) or return { late => scalar keys %open };
			my $from = recv $ready, my $bytes, 65536, 0;
			my ($which) = $bytes =~ /^Call-ID: many-(\d+)\r$/m or next;
			send($server, response($bytes, 200, 'OK'), 0, $from), next if $ready == $server;
			$status{ ($bytes =~ m{^SIP/2\.0 (\d+)})[0] }++ if delete $open{$which};
		}
	}
	return \%status;
}

subtest 'many requests of one address' => sub {
	is_deeply(many(4500), { 200 => 4500 }, 'more than are remembered: each is answered');
};

# Of two servers over UDP one wants less.
sub shares {
	my ($service, $n, $busy) = @_;
	my ($client, %asked, %server) = (client($service));
	for my $i (1 .. $n) {
		ask_udp($client, request('OPTIONS', id => "$service-$i"));
		while (1) {
			my ($ready) = IO::Select->new($server, $other)->can_read($Steelyard::LIMIT) or return fail("nobody hears $service-$i");
			my $from = recv $ready, my $bytes, 65536, 0;
			next unless $bytes =~ /^OPTIONS.*: $service-$i\r/s;
			my $name = $ready == $server ? 'busy' : 'other';
			$asked{$name}{$i}++;
			my $said = $name eq 'busy' ? $busy->($bytes) : response($bytes, 200, 'OK');
			send $ready, $said, 0, $from;
			$server{$name}++, last if $said =~ m{^SIP/2\.0 200};
		}
		like(hears($client, qr/: $service-$i\r/), qr{^SIP/2\.0 200 }, "request $i is answered");
	}
	return map { scalar keys %{ $_ || {} } } @asked{qw(busy other)};
}

subtest 'a server that wants less' => sub {
	my ($busy, $rest) = shares('busy', 20, sub { response($_[0], 503, 'Busy', "Retry-After: 60\r\n") });
	cmp_ok($busy, '>=', 1, "503: it was asked $busy times");
	cmp_ok($busy, '<=', 8, 'and then less often, for as long as Retry-After says');
	is($rest, 20, 'the other one has answered all');
	($busy, $rest) = shares('less', 20, sub {
		response($_[0], 200, 'OK') =~ s/^(Via:[^\r]*?);oc;oc-algo="loss"/$1;oc=75;oc-algo="loss";oc-validity=60000;oc-seq=1.1/mr });
	cmp_ok($busy, '>=', 1, "oc=75 (RFC 7339): it was asked $busy times");
	cmp_ok($busy, '<=', 8, "and the other one more often: $rest");
};

subtest 'from TCP to UDP' => sub {
	my $sock = dial($port{'own-tcp'});
	say($sock, request('INVITE', id => 'tcp'));
	my $invite = server_hears(qr/^INVITE/);
	like($invite, qr{^INVITE .*\r\nVia: SIP/2\.0/UDP }, 'the server is spoken to over UDP');
	like($invite, qr{^Record-Route: <sip:[\w-]+\@127\.0\.0\.1:\d+;lr>\r\nRecord-Route: <sip:[\w-]+\@127\.0\.0\.1:\d+;transport=tcp;lr>\r\n}m, 'each side has its transport in its Route');
	server_says(response($invite, 200, 'OK', "Contact: <sip:b\@127.0.0.1:$at>\r\n"));
	like(hear($sock, qr/200 OK.*\r\n\r\n/s), qr{^SIP/2\.0 200 OK}m, 'the call is answered');
	server_says(response($invite, 200, 'OK', "Contact: <sip:b\@127.0.0.1:$at>\r\n"));
	like(hear($sock, qr/200 OK.*\r\n\r\n/s), qr{^SIP/2\.0 200 OK}m, 'and again, until there is an ACK');
	say($sock, request('ACK', id => 'tcp', to => ';tag=server'));
	like(server_hears(qr/^ACK/), qr/^ACK/, 'which arrives');
};

subtest 'another way back, another server' => sub {
	my $sock = dial($port{elsewhere});
	say($sock, request('OPTIONS', id => 'back'));
	my $got = hear($sock, qr/\r\n\r\n/);
	like($got, qr{^SIP/2\.0 200 OK\r\nVia: SIP/2\.0/TCP 192\.0\.2\.1:5060;}, 'an answer by another connection finds its client');
	is(() = $got =~ /^Via:/mg, 1, 'without our Via');
	my $client = client('gone');
	ask_udp($client, request('OPTIONS', id => 'gone'));
	like(hears($client, qr/^SIP/), qr{^SIP/2\.0 503 }, 'a server that is not there: 503');
	$client = client('two');
	for my $i (1 .. 2) {
		ask_udp($client, request('OPTIONS', id => "two-$i"));
		my $options = server_hears(qr/^OPTIONS.*two-$i\r/s);
		like($options, qr/two-$i/, 'of two, the other one is asked');
		server_says(response($options, 200, 'OK'));
		like(hears($client, qr/two-$i/), qr{^SIP/2\.0 200 }, 'and answers');
	}
};

subtest 'TLS on both sides' => sub {
	my $sock = IO::Socket::SSL->new(PeerAddr => '127.0.0.1', PeerPort => $port{tls}, Timeout => 20, SSL_ca_file => "$dir/ca.crt",
		SSL_hostname => 'sip.example.net', SSL_verifycn_scheme => 'default', SSL_verifycn_name => 'sip.example.net') or return fail("TLS: $SSL_ERROR");
	print $sock request('REGISTER', more => "Contact: <sip:alice\@127.0.0.1:9;transport=tls>\r\n") =~ s{SIP/2\.0/TCP}{SIP/2.0/TLS}r;
	my $got = '';
	while ($got !~ /\r\n\r\n\z/) { sysread($sock, $got, 4096, length $got) or last }
	like($got, qr{^SIP/2\.0 200 OK\r\nVia: SIP/2\.0/TLS }, 'Kamailio registers over TLS');
};

sub ran {
	my ($got, $calls, $name) = @_;
	ok($got->{ok} && ($got->{failed} // 1) == 0 && ($got->{good} // 0) == $calls, "$name: $calls calls, none failed")
		or diag $got->{text};
}

subtest 'calls, by SIPp' => sub {
	ran(sipp([ qw(-sn uac -t u1 -m 100 -r 50), "127.0.0.1:$port{udp}" ]), 100, 'UDP to UDP');
	my %calls = map { $_ => $sy->seat('udp', $_)->{figures}{requests_invite} } qw(u1 u2);
	is($calls{u1} + $calls{u2}, 100, 'each INVITE is counted once');
	cmp_ok($calls{u1} * $calls{u2}, '>', 0, "and they are spread: $calls{u1} to $calls{u2}");
	ran(sipp([ qw(-sn uac -t un -max_socket 300 -m 60 -r 60), "127.0.0.1:$port{udp}" ]), 60, 'a socket for each');
	ran(sipp([ qw(-sn uac -t u1 -m 60 -r 60), "127.0.0.1:$port{'to-tcp'}" ]), 60, 'UDP to TCP');
	ran(sipp([ qw(-sn uac -t t1 -m 60 -r 60), "127.0.0.1:$port{'to-udp'}" ]), 60, 'TCP to UDP');
	my $f = figures('udp');
	is_deeply([ @$f{qw(requests_bye transactions dialogs refused)} ], [ 160, 0, 0, 0 ], 'and nothing is left open');
};

is($sy->stop, 0, 'it ends well');
done_testing;
