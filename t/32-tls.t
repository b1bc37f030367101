#!/usr/bin/env perl
# TLS ended at a listener, and made anew to the servers: who gets which certificate, who is refused and
# why, what comes back quickly, and that bytes, ends and reloads go through it unharmed.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Certificates;
use Crowd qw(wait_for);
use Digest::SHA qw(sha256_hex);
use IO::Select;
use IO::Socket::INET;
use IO::Socket::SSL;
use Socket qw(SHUT_WR);
use Steelyard;
use Time::HiRes qw(time sleep);

my $certs = Certificates->new;
$certs->authority('ca');
$certs->authority('sub', ca => 'ca');
$certs->authority('other');
$certs->issue('web', ca => 'sub', chain => ['sub'], names => ['web.example.net', '*.apps.example.net']);
$certs->issue('webec', ca => 'sub', chain => ['sub'], key => 'ec', names => ['web.example.net']);
$certs->issue('sip', ca => 'ca', names => ['sip.example.net']);
$certs->issue('client', ca => 'ca', names => ['client.example.net']);
$certs->issue('lost', ca => 'ca', names => ['lost.example.net']);
$certs->issue('stranger', ca => 'other', names => ['stranger.example.net']);
$certs->issue('expired', ca => 'ca', from => -20, to => -10, names => ['server.example.net']);
$certs->issue('server', ca => 'ca', names => ['server.example.net']);
$certs->issue('wrong', ca => 'ca', names => ['elsewhere.example.net']);
$certs->issue('unknown', ca => 'other', names => ['server.example.net']);
$certs->revoke('ca', 'lost');
my $dir = $certs->dir;

# A server of lines behind TLS; with `plain` without. Counts what was resumed.
sub tls_server {
	my ($name, %tls) = @_;
	# Made before the first fork, so that all know the same tickets.
	my $ctx = IO::Socket::SSL::SSL_Context->new(SSL_server => 1, SSL_session_id_context => 'test', %tls)
		or die $SSL_ERROR;
	return Steelyard->server($name, on => sub {
		my $plain = shift;
		return close $plain if fork;
		my $conn = IO::Socket::SSL->start_SSL($plain, SSL_server => 1, SSL_reuse_ctx => $ctx)
			or POSIX::_exit(1);
		my $reused = $conn->get_session_reused ? 'again' : 'new';
		while (my $line = <$conn>) {
			print $conn "$name: $reused $line";
		}
		close $conn;
		POSIX::_exit(0);
	});
}

sub client {
	my ($port, %tls) = @_;
	return IO::Socket::SSL->new(PeerAddr => '127.0.0.1', PeerPort => $port, Timeout => 20,
		SSL_ca_file => "$dir/ca.crt", SSL_verifycn_scheme => 'default', SSL_hostname => 'web.example.net',
		SSL_verifycn_name => $tls{SSL_hostname} || 'web.example.net', %tls);
}

sub ask {
	my ($conn, $text) = @_;
	print $conn "$text\n";
	return scalar <$conn> // '';
}

my $s1 = Steelyard->server('s1');
my $pair = "certificate $dir/web.chain; key $dir/web.key;";
my $settings = "monitor tcp { interval 200ms; rise 1; fall 1; }";
my $conf = sub {
	my %with = (web => $pair, @_);
	return <<CONF;
pool p { server s1 127.0.0.1:@{[ $s1->port ]}; }
virtual-service web {
	listen 127.0.0.1:0 { tls { $with{web} } }
	pool p;
	$settings
}
@{[ $with{more} // '' ]}
CONF
};

# ---- the client's side ----

my %tls = (
	both => "$pair certificate $dir/webec.chain; key $dir/webec.key; certificate sip { chain $dir/sip.crt; key $dir/sip.key; }",
	modern => "$pair policy modern;",
	old => "$pair policy old;",
	required => "$pair client-certificate required; ca $dir/ca.crt; crl $dir/ca.crl;",
	optional => "$pair client-certificate optional; ca $dir/ca.crt;",
	alpn => "$pair alpn h2 http/1.1;",
	slow => "$pair handshake-timeout 500ms;",
	none => "$pair tickets off;",
);
my $more = join '', map { "virtual-service $_ { listen 127.0.0.1:0 { tls { $tls{$_} } } pool p; $settings }\n" } sort keys %tls;
$more .= "virtual-service proxied { listen 127.0.0.1:0 { tls { $pair } } accept-proxy-from 127.0.0.0/8; pool p; $settings }\n";
my $sy = Steelyard->start($conf->(more => $more));
$sy->wait_up($_, 's1') for 'web', 'proxied', keys %tls;
my %port = map { $_ => $sy->port($_) } 'web', 'proxied', keys %tls;

subtest 'a connection' => sub {
	my $conn = client($port{web}) or return fail("connect: $SSL_ERROR");
	is(ask($conn, 'hello'), "s1: hello\n", 'goes through');
	is($conn->get_sslversion, 'TLSv1_3', 'TLS 1.3');
	my ($entry) = @{ $sy->api('GET', '/v1/connections?service=web')->{connections} };
	like($entry->{tls}, qr/^TLSv1\.3 TLS_/, "the list shows version and cipher: $entry->{tls}");
	is($entry->{sni}, 'web.example.net', 'and the name');
	my ($listed) = grep { $_->{used_by} eq 'virtual-service web' } @{ $sy->api('GET', '/v1/certificates')->{certificates} };
	like($listed->{names}, qr/web\.example\.net \*\.apps\.example\.net/, 'the API lists its certificate');
	is($listed->{days_left}, 29, 'with the days left');
	is($listed->{chain}, 2, 'and the length of its chain');
	close $conn;
	like($sy->wait_log(qr/(connection client closed first .*service=web.*)/), qr/tls="?TLSv1\.3 TLS_\S+/, 'so does the log');
};

subtest 'certificates by name and kind' => sub {
	my %want = ('web.example.net' => 'web.example.net', 'x.apps.example.net' => 'web.example.net',
		'sip.example.net' => 'sip.example.net', 'SIP.Example.Net' => 'sip.example.net');
	for my $name (sort keys %want) {
		my $conn = client($port{both}, SSL_hostname => $name, SSL_verifycn_name => lc $name);
		ok($conn, "$name gets a certificate that holds it") or diag $SSL_ERROR;
		is($conn && $conn->peer_certificate('cn'), $want{$name}, $name);
	}
	my $conn = client($port{both}, SSL_hostname => 'nobody.example.net', SSL_verify_mode => SSL_VERIFY_NONE);
	is($conn && $conn->peer_certificate('cn'), 'web.example.net', 'an unknown name gets the first');
	my $kind = sub { (`openssl s_client -connect 127.0.0.1:$port{both} -servername web.example.net @_ </dev/null 2>&1` =~ /Peer signature type: (\S+)/)[0] // 'none' };
	is($kind->(), 'ECDSA', 'who can verify both gets ECDSA');
	is($kind->('-sigalgs RSA-PSS+SHA256'), 'RSA-PSS', 'who knows RSA only gets RSA');
	is($kind->('-tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256'), 'RSA-PSS', 'in TLS 1.2 by cipher');
};

subtest 'policies' => sub {
	my $try = sub {
		my ($service, @args) = @_;
		my $out = `openssl s_client -connect 127.0.0.1:$port{$service} @args </dev/null 2>&1`;
		return $out =~ /New, (TLS\S+|SSL\S+), Cipher is (?!\(NONE)/ && $out =~ /Protocol\s*: (\S+)|New, (TLSv1\.3)/ ? $1 // $2 : 'refused';
	};
	is($try->('web', '-tls1_2'), 'TLSv1.2', 'intermediate takes TLS 1.2');
	is($try->('web', '-tls1_1 -cipher ALL:\@SECLEVEL=0'), 'refused', 'and not 1.1');
	like($sy->wait_log(qr/(TLS handshake failed: unsupported protocol.*)/), qr/the client offers TLSv1\.1 (only|at most)/, 'the log says what was offered');
	is($try->('modern', '-tls1_2'), 'refused', 'modern refuses TLS 1.2');
	is($try->('modern', '-tls1_3'), 'TLSv1.3', 'and takes 1.3');
	is($try->('old', '-tls1 -cipher ALL:\@SECLEVEL=0'), 'TLSv1', 'old takes TLS 1.0');
	is($try->('web', '-tls1_2 -cipher AES128-SHA'), 'refused', 'a cipher that is not in the policy');
	like($sy->wait_log(qr/(TLS handshake failed: no shared cipher.*)/), qr/service=web/, 'is a reason of its own');
};

subtest 'client certificates' => sub {
	my $try = sub {
		my ($service, $who) = @_;
		my $conn = client($port{$service}, $who ? (SSL_cert_file => "$dir/$who.crt", SSL_key_file => "$dir/$who.key") : ());
		return $conn ? ask($conn, 'hi') : '';
	};
	is($try->('required', 'client'), "s1: hi\n", 'one that ca signed');
	is($try->('required'), '', 'none: refused');
	$sy->wait_log(qr/the client shows no certificate/);
	is($try->('required', 'stranger'), '', 'of another authority: refused');
	like($sy->wait_log(qr/(the client's certificate is refused: .*)/), qr/CN=stranger/, 'by name');
	is($try->('required', 'lost'), '', 'revoked: refused');
	$sy->wait_log(qr/the client's certificate is refused: certificate revoked/);
	is($try->('optional'), "s1: hi\n", 'optional: none is fine');
	is($try->('optional', 'stranger'), '', 'optional: a wrong one is not');
};

subtest 'ALPN' => sub {
	my $alpn = sub { (`openssl s_client -connect 127.0.0.1:$port{alpn} @_ </dev/null 2>&1` =~ /ALPN protocol: (\S+)/)[0] // 'none' };
	is($alpn->('-alpn http/1.1,h2'), 'h2', 'our order counts');
	is($alpn->('-alpn http/1.1'), 'http/1.1', 'what both know');
	is($alpn->(''), 'none', 'none when not asked');
	like(`openssl s_client -connect 127.0.0.1:$port{alpn} -alpn spdy/9 </dev/null 2>&1`, qr/no application protocol|alert number 120/, 'nothing in common is refused');
};

subtest 'a PROXY header before TLS' => sub {
	my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port{proxied}) or die;
	syswrite $sock, "PROXY TCP4 192.0.2.7 192.0.2.8 1234 443\r\n";
	my $conn = IO::Socket::SSL->start_SSL($sock, SSL_ca_file => "$dir/ca.crt", SSL_hostname => 'web.example.net');
	is($conn && ask($conn, 'hello'), "s1: hello\n", 'works');
	is($sy->api('GET', '/v1/connections?service=proxied')->{connections}[0]{client}, '192.0.2.7:1234', 'and the client is the one it names');
	# Both in one segment: what follows the header must not be lost.
	my $seen = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port{proxied}) or die;
	$seen->autoflush(1);
	require IO::Handle;
	pipe my $in, my $out;
	my $hello = `(sleep 1) | openssl s_client -connect 127.0.0.1:1 2>/dev/null`; # no peer: only to warm up
	my $bytes = pack('H*', '160301003d010000390303') . ("\x01" x 32) . pack('H*', '000004c02fc03001000010000b00020100000a00040002001d0000');
	syswrite $seen, "PROXY TCP4 192.0.2.9 192.0.2.8 1234 443\r\n$bytes";
	sysread $seen, my $answer, 1;
	ok(length $answer, 'one segment with both is answered');
};

subtest 'garbage and silence' => sub {
	my $before = $sy->api('GET', '/v1/processes');
	srand 7;
	for my $i (1 .. 200) {
		my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port{web}) or die;
		my $bytes = join '', map { chr int rand 256 } 1 .. int rand 400;
		$bytes = "\x16\x03\x01" . pack('n', length($bytes) & 0x3fff) . "\x01$bytes" if $i % 2;
		syswrite $sock, $bytes if length $bytes;
		shutdown $sock, SHUT_WR if $i % 3;
		close $sock if $i % 5;
	}
	my $http = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port{web}) or die;
	syswrite $http, "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
	$sy->wait_log(qr/TLS handshake failed: the client speaks HTTP without TLS/);
	my $slow = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port{slow}) or die;
	syswrite $slow, "\x16\x03\x01";
	$sy->wait_log(qr/client did not complete the TLS handshake within handshake-timeout \(500ms\)/);
	is(ask(client($port{web}), 'still'), "s1: still\n", 'service goes on');
	my $after = $sy->api('GET', '/v1/processes');
	is_deeply([ map { $_->{pid} } @{ $after->{processes} } ], [ map { $_->{pid} } @{ $before->{processes} } ], 'in the same processes');
};

# ---- sessions ----

subtest 'resumption' => sub {
	my $resume = sub {
		my ($service, $version, $rounds, $between) = @_;
		my ($again, $n, $session) = (0, 0);
		my $ctx = Net::SSLeay::CTX_new();
		Net::SSLeay::CTX_set_min_proto_version($ctx, $version);
		Net::SSLeay::CTX_set_max_proto_version($ctx, $version);
		for my $i (1 .. $rounds) {
			$between->($i) if $between;
			my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port{$service}) or next;
			my $ssl = Net::SSLeay::new($ctx);
			Net::SSLeay::set_fd($ssl, fileno $sock);
			Net::SSLeay::set_session($ssl, $session) if $session;
			$n++ if $i > 1;
			if (Net::SSLeay::connect($ssl) == 1 && Net::SSLeay::write($ssl, "x\n") && Net::SSLeay::read($ssl)) {
				$again++ if Net::SSLeay::session_reused($ssl);
				Net::SSLeay::SESSION_free($session) if $session;
				$session = Net::SSLeay::get1_session($ssl);
			}
			Net::SSLeay::shutdown($ssl);
			Net::SSLeay::free($ssl);
		}
		return ($again, $n);
	};
	my %number = (TLSv1_2 => 0x303, TLSv1_3 => 0x304);
	for my $version (sort keys %number) {
		my ($again, $n) = $resume->('web', $number{$version}, 101, sub {
			my $i = shift;
			if ($i % 10 == 0) {
				my ($ok, $text) = $sy->reload($conf->(more => $more . "# $i\n"));
				die $text unless $ok;
			}
			if ($i == 55) {
				my $old = $sy->pid_of('worker', 0);
				kill 'KILL', $old;
				wait_for('its successor', sub { my $now = $sy->pid_of('worker', 0); $now && $now != $old });
				wait_for('it to be ready', sub { !grep { $_->{role} eq 'worker' && !$_->{ready} } grep { exists $_->{ready} } @{ $sy->processes } });
			}
		});
		diag "$version: $again of $n resumed over 10 reloads and a killed worker";
		cmp_ok($again, '>=', 0.99 * $n, "$version: more than 99 % are resumed");
	}
	is(($resume->('none', $_, 5))[0], 0, 'tickets off: none is') for values %number;
};

# ---- the servers' side ----

subtest 'TLS to the servers' => sub {
	my $good = tls_server('good', SSL_cert_file => "$dir/server.crt", SSL_key_file => "$dir/server.key");
	my %bad = map { $_ => tls_server($_, SSL_cert_file => "$dir/$_.crt", SSL_key_file => "$dir/$_.key") } qw(wrong unknown expired);
	my $mutual = tls_server('mutual', SSL_cert_file => "$dir/server.crt", SSL_key_file => "$dir/server.key",
		SSL_verify_mode => SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, SSL_ca_file => "$dir/ca.crt");
	my $mute = Steelyard->server('mute', mute => 1);
	my $to = sub { my ($name, $server, $set) = @_; "pool $name { tls { ca $dir/ca.crt; name server.example.net; $set } server $name 127.0.0.1:@{[ $server->port ]}; }\n"
		. "virtual-service $name { listen 127.0.0.1:0; pool $name; monitor off; connect-timeout 700ms; }\n" };
	my $pools = $to->('good', $good, '') . $to->('mutual', $mutual, "certificate $dir/client.pem;") . $to->('mute', $mute, '');
	$pools .= $to->($_, $bad{$_}, '') for sort keys %bad;
	$pools .= "pool mixed { tls { ca $dir/ca.crt; name server.example.net; } server bad 127.0.0.1:@{[ $bad{wrong}->port ]}; server fine 127.0.0.1:@{[ $good->port ]}; }\n"
		. "virtual-service mixed { listen 127.0.0.1:0; pool mixed; scheduler round-robin; monitor off; }\n"
		. "virtual-service blind { listen 127.0.0.1:0 { tls { $pair } } pool wrong { tls { verify off; } } monitor off; }\n";
	my $back = Steelyard->start($conf->(more => $pools));
	my $say = sub {
		my ($service, $text) = @_;
		my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $back->port($service), Timeout => 20) or return "no connection";
		return ask($sock, $text // 'hi');
	};
	is($say->('good'), "good: new hi\n", 'a verified server');
	my $again = grep { $say->('good') =~ /again/ } 1 .. 20;
	cmp_ok($again, '>=', 18, "sessions are used again: $again of 20");
	is($say->('mutual'), "mutual: new hi\n", 'we show a certificate to one that asks');
	is($say->('wrong'), '', 'a certificate for another name');
	$back->wait_log(qr/TLS handshake with the server failed: wrong: the server's certificate does not hold the name server\.example\.net/);
	is($say->('unknown'), '', 'an unknown authority');
	$back->wait_log(qr/TLS handshake with the server failed: unknown: the server's certificate is refused: (unable to get|self.signed)/);
	is($say->('expired'), '', 'out of date');
	$back->wait_log(qr/TLS handshake with the server failed: expired: the server's certificate is refused: certificate has expired/);
	is($say->('mute'), '', 'one that says nothing');
	$back->wait_log(qr/(server|mute) did not answer within connect-timeout/);
	is(scalar(grep { $say->('mixed') =~ /^good:/ } 1 .. 10), 10, 'another server is tried');
	my $conn = client($back->port('blind'));
	like(ask($conn, 'hi'), qr/^wrong: \w+ hi$/, 'verify off, and TLS on both sides');
};

# ---- bytes ----

# Reads a request line "N SHA", N bytes; answers "SHA-of-what-came N2 SHA2\n" and N2 bytes.
sub mover {
	my (%tls) = @_;
	return Steelyard->server('mover', on => sub {
		my $conn = shift;
		return close $conn if fork;
		$conn = IO::Socket::SSL->start_SSL($conn, SSL_server => 1, %tls) if %tls;
		my $sha = Digest::SHA->new(256);
		while (my $n = sysread $conn, my $bytes, 65536) {
			$sha->add($bytes);
		}
		my $answer = $sha->hexdigest . "\n" . ('0123456789abcdef' x 65536) x 32;
		my $at = 0;
		while ($at < length $answer) {
			my $n = syswrite $conn, $answer, 65536, $at or last;
			$at += $n;
		}
		close $conn;
		POSIX::_exit(0);
	});
}

# With `bytes` up, then our end; returns the digest that the server saw, and how much came down.
sub transfer {
	my ($port, $mib) = @_;
	my $conn = client($port) or return ("connect: $SSL_ERROR", 0, '');
	my $part = join '', map { chr($_ * 7 & 255) } 1 .. 65536;
	my $sha = Digest::SHA->new(256);
	for (1 .. $mib * 16) {
		$sha->add($part);
		my $at = 0;
		while ($at < length $part) {
			my $n = syswrite $conn, $part, 16384, $at;
			return ("write: $!", 0, '') unless $n;
			$at += $n;
		}
	}
	Net::SSLeay::shutdown($conn->_get_ssl_object);
	my $got = '';
	my $down = Digest::SHA->new(256);
	my $n = 0;
	my $line = '';
	while (my $len = sysread $conn, my $bytes, 65536) {
		if (length $line < 65) {
			$line .= $bytes;
			next if length $line < 65;
			$bytes = substr $line, 65;
			$line = substr $line, 0, 65;
		}
		$down->add($bytes);
		$n += length $bytes;
	}
	chomp $line;
	return ($line eq $sha->hexdigest ? 'same' : "sent " . $sha->hexdigest . ", arrived $line", $n, $down->hexdigest);
}

subtest 'much, both ways, and half-close' => sub {
	my $plain = mover();
	my $secure = mover(SSL_cert_file => "$dir/server.crt", SSL_key_file => "$dir/server.key");
	my $both = Steelyard->start(<<CONF);
pool plain { server s1 127.0.0.1:@{[ $plain->port ]}; }
pool secure { tls { ca $dir/ca.crt; name server.example.net; } server s1 127.0.0.1:@{[ $secure->port ]}; }
virtual-service plain { listen 127.0.0.1:0 { tls { $pair } } pool plain; monitor off; }
virtual-service secure { listen 127.0.0.1:0 { tls { $pair } } pool secure; monitor off; }
CONF
	my $want = sha256_hex(('0123456789abcdef' x 65536) x 32);
	for my $service ('plain', 'secure') {
		my ($up, $n, $down) = transfer($both->port($service), 32);
		is($up, 'same', "$service: 32 MiB up are the same");
		is($n, 32 << 20, "$service: 32 MiB down after the client's end");
		is($down, $want, "$service: and the same");
	}
	is($both->stop, 0, 'it ends well');
};

is($sy->stop, 0, 'it ends well');

# ---- what the loader says ----

subtest 'broken settings' => sub {
	$certs->openssl(qw(pkey -aes256 -passout pass:secret), '-in', 'web.key', '-out', 'locked.key');
	$certs->openssl(qw(x509 -outform der), '-in', 'web.crt', '-out', 'web.der');
	$certs->write_file('torn.crt', substr $certs->read_file('web.crt'), 0, 400);
	$certs->write_file('text', "nothing\n");
	$certs->write_file('short.crt', $certs->read_file('web.crt'));
	my @bad = (
		["certificate $dir/web.crt; key $dir/sip.key;", qr/error|the key in \S+sip\.key does not belong to the certificate in \S+web\.crt/],
		["certificate $dir/web.crt; key $dir/locked.key;", qr/the key in \S+locked\.key is encrypted/],
		["certificate $dir/web.der; key $dir/web.key;", qr/no certificate in PEM form in \S+web\.der; it looks like DER/],
		["certificate $dir/torn.crt; key $dir/web.key;", qr/no certificate in PEM form|cannot be read/],
		["certificate $dir/text; key $dir/web.key;", qr/no certificate in PEM form in \S+text/],
		["certificate $dir/web.crt;", qr/web\.crt holds no private key, and none is named/],
		["certificate $dir/web.crt; key $dir/text;", qr/no private key in PEM form in \S+text/],
		["certificate $dir/absent.crt; key $dir/web.key;", qr/certificate: cannot read \S+absent\.crt: No such file/],
		["key $dir/web.key;", qr/the certificate that it belongs to must stand before it/],
		["$pair key $dir/web.key;", qr/has a key already/],
		["policy modern;", qr/tls of a listener needs a certificate/],
		["$pair client-certificate required;", qr/client-certificate needs ca/],
		["$pair ca $dir/ca.crt;", qr/client-certificate is none/],
		["$pair client-certificate optional; ca $dir/text;", qr/no list of certificates/],
		["$pair ciphers NONSENSE;", qr/ciphers NONSENSE: no cipher match/],
		["$pair versions TLSv1.4;", qr/versions TLSv1\.4: .*are known/],
		["$pair groups nonsense;", qr/groups nonsense/],
		["$pair policy ancient;", qr/policy ancient: modern, intermediate or old/],
		["$pair verify on;", qr/verify/],
	);
	my $check = sub {
		my $text = shift;
		my $file = $certs->write_file('steelyard.conf', $text);
		return scalar `$ENV{STEELYARD_BUILD}/steelyardd -t -c $file -m $ENV{STEELYARD_BUILD}/t/modules 2>&1`;
	};
	for my $bad (@bad) {
		my $said = $check->("user nobody;\npool p { server s 192.0.2.1:1; }\nvirtual-service x { pool p; monitor off;\nlisten 127.0.0.1:0 { tls { $bad->[0] } } }\n");
		like($said, qr/steelyard\.conf:4: (?!warning)[^\n]*$bad->[1]/, "$bad->[0]" =~ s/\Q$dir\E\///gr);
	}
	my $warn = $check->("user nobody;\npool p { server s 192.0.2.1:1; }\nvirtual-service x { pool p; monitor off;\nlisten 127.0.0.1:0 { tls { certificate $dir/expired.pem; certificate $dir/short.crt; key $dir/web.key; } } }\n");
	like($warn, qr/:4: warning: certificate \S+expired\.pem: it .* is out of date since 10 days/, 'out of date is a warning');
	like($warn, qr/:4: warning: certificate \S+short\.crt: .*is an intermediate certificate missing\?/, 'so is a missing intermediate');
	like($warn, qr/is good/, 'and both load');
	my $print = `$ENV{STEELYARD_BUILD}/steelyardd -T -c $dir/steelyard.conf -m $ENV{STEELYARD_BUILD}/t/modules 2>&1`;
	unlike($print, qr/PRIVATE|BEGIN/, '-T prints no key');
};

done_testing;
