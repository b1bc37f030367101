#!/usr/bin/env perl
# SIP with real peers: SIPp and Kamailio, over TCP, TLS and UDP, in both modes of protocol sip; what is
# refused and how clients are told; what is counted; that calls survive reloads, drains and new servers.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Certificates;
use IO::Socket::SSL;
use Sip qw(request response field registrar kamailio sipp sipp_server);
use Steelyard;
use Way qw(dial say hear hear_all ending half_close line_of);

my $certs = Certificates->new;
$certs->authority('ca');
$certs->issue('server', ca => 'ca', names => ['sip.example.net']);
$certs->issue('vip', ca => 'ca', names => ['sip.example.net']);
my $dir = $certs->dir;
my ($kamailio, $kam) = kamailio(certs => $dir);
my ($uas1, $uas2) = (sipp_server('t1'), sipp_server('t1'));
my $uas_udp = sipp_server('u1');
my @reg = map { registrar("r$_") } 1 .. 2;
my $vip = "certificate $dir/vip.crt; key $dir/vip.key;";

sub conf {
	my ($calls, $more) = @_;
	return <<CONF;
pool calls { $calls }
pool kam { server k 127.0.0.1:$kam->{tcp}; }
pool kam-tls { tls { ca $dir/ca.crt; name sip.example.net; } server k 127.0.0.1:$kam->{tls}; }
pool kam-udp { server k 127.0.0.1:$kam->{udp}; }
pool uas-udp { server u 127.0.0.1:@{[ $uas_udp->{port} ]}; }
pool reg { server r1 127.0.0.1:@{[ $reg[0]->port ]}; server r2 127.0.0.1:@{[ $reg[1]->port ]}; }
pool gone { server g 127.0.0.1:1; }
virtual-service calls { listen 127.0.0.1:0; protocol sip { mode connection; } pool calls; scheduler round-robin; monitor off; }
virtual-service over-tls { listen 127.0.0.1:0; protocol sip { mode connection; } pool kam-tls; monitor off; }
virtual-service ends-tls { listen 127.0.0.1:0 { tls { $vip } } protocol sip { mode connection; } pool kam; monitor off; }
virtual-service pass { listen 127.0.0.1:0; protocol sip { expect tls; server-names sip.example.net; } pool kam-tls-pass; monitor off; }
pool kam-tls-pass { server k 127.0.0.1:$kam->{tls}; }
virtual-service pass-clear { listen 127.0.0.1:0; protocol sip; pool kam; monitor off; }
virtual-service udp { listen 127.0.0.1:0/udp; protocol sip; pool uas-udp; monitor off; }
virtual-service kam-udp { listen 127.0.0.1:0/udp; protocol sip; pool kam-udp; monitor off; }
virtual-service reg { listen 127.0.0.1:0; protocol sip { mode connection; header-timeout 1s; } pool reg; scheduler round-robin; monitor off; }
virtual-service gone { listen 127.0.0.1:0; protocol sip { mode connection; retry-after 17; } pool gone; monitor off; }
@{[ $more // '' ]}
CONF
}
my $two = "server s1 127.0.0.1:$uas1->{port};";
my $three = "$two server s2 127.0.0.1:$uas2->{port};";
my $sy = Steelyard->start(conf($two));
my %port = map { $_ => $sy->port($_) } qw(calls over-tls ends-tls pass pass-clear udp kam-udp reg gone);

sub figures {
	my ($service) = @_;
	my ($found) = grep { $_->{name} eq $service } @{ $sy->api('GET', '/v1/services')->{services} };
	return $found->{figures};
}

sub ran {
	my ($got, $calls, $name) = @_;
	ok($got->{ok} && ($got->{failed} // 1) == 0 && ($got->{good} // 0) == $calls, "$name: $calls calls, none failed")
		or diag $got->{text};
}

# The client of SIPp, for a server of REGISTER, with credentials if it is asked for them.
sub registering {
	my ($user) = @_;
	my $say = sub { my ($cseq, $auth) = @_; return <<XML };
  <send retrans="500"><![CDATA[
REGISTER sip:example.com SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
Max-Forwards: 70
From: <sip:$user\[call_number]\@example.com>;tag=[call_number]
To: <sip:$user\[call_number]\@example.com>
Call-ID: [call_id]
CSeq: $cseq REGISTER
Contact: <sip:$user\[call_number]\@[local_ip]:[local_port];transport=[transport]>
Expires: 600
$auth
Content-Length: 0

  ]]></send>
XML
	return $say->(1, 'X: y') . '  <recv response="200"></recv>' . "\n" if $user !~ /^secret/;
	return $say->(1, 'X: y') . '  <recv response="401" auth="true"></recv>' . "\n"
		. $say->(2, '[authentication]') . '  <recv response="200"></recv>' . "\n";
}
my $moved = <<'XML';
  <send retrans="500"><![CDATA[
INVITE sip:moved@example.com SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
Max-Forwards: 70
From: <sip:a@example.com>;tag=[call_number]
To: <sip:moved@example.com>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:a@[local_ip]:[local_port]>
Content-Length: 0

  ]]></send>
  <recv response="302"></recv>
  <send><![CDATA[
ACK sip:moved@example.com SIP/2.0
[last_Via:]
Max-Forwards: 70
[last_From:]
[last_To:]
[last_Call-ID:]
CSeq: 1 ACK
Content-Length: 0

  ]]></send>
XML

subtest 'calls, by SIPp' => sub {
	ran(sipp([ qw(-sn uac -t tn -max_socket 200 -m 40 -r 40), "127.0.0.1:$port{calls}" ]), 40, 'TCP, a connection for each');
	ran(sipp([ qw(-sn uac -t t1 -m 40 -r 40), "127.0.0.1:$port{calls}" ]), 40, 'TCP, one connection for all');
	ran(sipp([ qw(-sn uac -t u1 -m 40 -r 40), "127.0.0.1:$port{udp}" ]), 40, 'UDP');
	my $f = figures('calls');
	is($f->{requests_invite}, 80, 'INVITEs are counted');
	is($f->{requests_bye}, 80, 'BYEs');
	is($f->{final_answers}, 160, 'answers');
	cmp_ok($f->{answers_1xx}, '>=', 80, 'provisional ones');
	is_deeply([ @$f{qw(transactions dialogs refused)} ], [ 0, 0, 0 ], 'and nothing is left open');
};

subtest 'Kamailio, by SIPp' => sub {
	ran(sipp([ qw(-t tn -max_socket 200 -m 30 -r 30), "127.0.0.1:$port{'over-tls'}" ], scenario => registering('user')), 30, 'REGISTER, TLS to the server');
	ran(sipp([ qw(-t tn -max_socket 200 -m 30 -r 30), "127.0.0.1:$port{'over-tls'}" ], scenario => registering('secret')), 30, 'the same with credentials');
	ran(sipp([ qw(-t t1 -m 20 -r 20), "127.0.0.1:$port{'over-tls'}" ], scenario => $moved), 20, '302');
	ran(sipp([ qw(-t u1 -m 20 -r 20), "127.0.0.1:$port{'kam-udp'}" ], scenario => registering('secret')), 20, 'UDP, credentials');
	ran(sipp([ qw(-t t1 -m 20 -r 20), "127.0.0.1:$port{'pass-clear'}" ], scenario => registering('secret')), 20, 'pass-through, credentials');
	my $f = figures('over-tls');
	is($f->{challenges}, 30, 'challenges are counted');
	is($f->{answers_3xx}, 20, 'redirections');
	is($f->{answers_2xx}, 60, 'registrations');
};

sub tls_client {
	my ($port, $name) = @_;
	return IO::Socket::SSL->new(PeerAddr => '127.0.0.1', PeerPort => $port, Timeout => 20, SSL_ca_file => "$dir/ca.crt",
		SSL_hostname => $name // 'sip.example.net', SSL_verifycn_scheme => 'default', SSL_verifycn_name => 'sip.example.net');
}

subtest 'TLS' => sub {
	for my $service (qw(ends-tls pass)) {
		my $sock = tls_client($port{$service}) or return fail("$service: $SSL_ERROR");
		print $sock "\r\n\r\n" if $service eq 'pass';
		print $sock request('OPTIONS');
		my $got = '';
		while ($got !~ /\r\n\r\n\z/ || $got !~ /SIP/) { sysread($sock, $got, 4096, length $got) or last }
		like($got, qr{^(?:\r\n)?SIP/2\.0 200 }, "$service: OPTIONS is answered");
		print $sock "\r\n\r\n";
		sysread $sock, my $pong, 10;
		is($pong, "\r\n", "$service: a ping is answered by the server");
	}
	ok(!tls_client($port{pass}, 'other.example.net'), 'a name that is not allowed');
	$sy->wait_log(qr/the ClientHello asks for a name that is not in server-names/);
	my $sock = dial($port{pass});
	say($sock, request('OPTIONS'));
	is(hear_all($sock), '<end>', 'plain SIP on a TLS port is closed');
	like(line_of($sy, $sock)->{words}, qr/plain SIP where TLS is expected/, 'in words');
};

subtest 'what is refused' => sub {
	my $sock = dial($port{reg});
	say($sock, request('OPTIONS', more => "Content-Length: 5\r\n"));
	like(hear_all($sock), qr{^SIP/2\.0 400 Bad Request\r\nVia: .*Content-Length: 0\r\n\r\n<end>\z}s, 'smuggling gets a 400 and the end');
	like(line_of($sy, $sock)->{words}, qr/two Content-Length that differ/, 'in words');
	$sock = dial($port{reg});
	say($sock, request('OPTIONS', body => 'abc') =~ s/\r\n/\n/gr);
	like(hear_all($sock), qr{<end>\z}, 'bare LF');
	like(line_of($sy, $sock)->{words}, qr/LF alone/, 'in words');
	$sock = dial($port{reg});
	say($sock, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
	is(hear_all($sock), '<end>', 'HTTP');
	like(line_of($sy, $sock)->{words}, qr/HTTP where SIP is expected/, 'in words');
	$sock = dial($port{reg});
	say($sock, "OPTIONS sip:a SIP/2.0\r\nVia");
	like(hear_all($sock), qr/<(end|reset)>\z/, 'a head that is not completed in header-timeout');
	$sock = dial($port{reg});
	say($sock, request('OPTIONS') . request('OPTIONS') =~ s/Content-Length: 0/Content-Length: -1/r);
	like(hear_all($sock), qr{<end>\z}s, 'a bad one behind a good one');
	like(line_of($sy, $sock)->{words}, qr/Content-Length that is no number/, 'in words');
	$sock = dial($port{gone});
	say($sock, request('REGISTER'));
	like(hear_all($sock), qr{^SIP/2\.0 503 Service Unavailable\r\nRetry-After: 17\r\nVia: .*<end>\z}s, 'no server: 503 with Retry-After');
};

subtest 'cut at each byte, many at once' => sub {
	my $sock = dial($port{reg});
	my $all = join '', map { request('REGISTER', cseq => $_, id => 'cuts', body => 'x' x ($_ * 7)) . "\r\n\r\n" } 1 .. 4;
	say($sock, $_) for split //, $all;
	my $got = hear($sock, qr/(CSeq: 4 REGISTER.*?\r\n\r\n.*\r\n\z)/s);
	is(() = $got =~ m{^SIP/2\.0 200}mg, 4, 'byte by byte: each is answered');
	say($sock, join '', map { request('MESSAGE', cseq => $_, id => 'many', body => 'y' x 3000) } 1 .. 100);
	$got = hear($sock, qr/CSeq: 100 MESSAGE.*?\r\n\r\n\z/s);
	is(() = $got =~ m{^SIP/2\.0 200}mg, 100, '100 in one piece: each is answered');
	say($sock, request('SERVICE', id => 'large', body => 'z' x 500000));
	like(hear($sock, qr/\r\n\r\n\z/), qr{^SIP/2\.0 200}, 'half a megabyte of presence');
	is(figures('reg')->{registrations}, 1, 'one user is registered');
	close $sock;
	Steelyard::wait_for('the gauge to fall', sub { figures('reg')->{registrations} == 0 });
	pass('and is not when the connection has ended');
};

subtest 'no call fails' => sub {
	my $run = Sip::sipp_start([ qw(-sn uac -t tn -max_socket 1000 -m 240 -r 40 -d 600), "127.0.0.1:$port{calls}" ]);
	my $seen = sub { my $n = shift; Steelyard::wait_for("$n calls", sub { (figures('calls')->{requests_invite} // 0) >= 80 + $n }) };
	$seen->(30);
	my ($ok, $text) = $sy->reload(conf($three));
	ok($ok, 'a server is added by a reload') or diag $text;
	$seen->(90);
	($text, my $status) = $sy->ctl('drain', 's1', '--service', 'calls');
	is($status, 0, 'the other one is drained') or diag $text;
	$seen->(140);
	($ok, $text) = $sy->reload(conf($three, "# again\n"));
	ok($ok, 'a reload during the drain') or diag $text;
	ran($run->finish, 240, 'all the while');
	my $f = figures('calls');
	is_deeply([ @$f{qw(transactions dialogs unanswered refused)} ], [ 0, 0, 0, 0 ], 'no transaction is lost');
};

done_testing;
