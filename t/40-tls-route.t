#!/usr/bin/env perl
# protocol tls: connections go where their hello says, however it is cut, and untouched; real clients are
# understood; what is refused is refused in words, with an alert.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Certificates;
use Digest::SHA qw(sha256_hex);
use File::Temp;
use IO::Socket::INET;
use IO::Socket::SSL;
use Steelyard;
use Way qw(dial say hear hear_all half_close mark line_of);

# Says its name and what it has got, when the client has ended.
sub raw_server {
	my $name = shift;
	return Steelyard->server($name, on => sub {
		my $sock = shift;
		return if fork;
		my $got = '';
		while (sysread $sock, my $bytes, 65536) { $got .= $bytes }
		say($sock, "$name " . sha256_hex($got) . "\n");
		POSIX::_exit(0);
	});
}

my %raw = map { $_ => raw_server($_) } qw(own a b c);
my $pools = join '', map { "pool $_ { server $_ 127.0.0.1:@{[ $raw{$_}->port ]}; }\n" } sort keys %raw;
my $routes = <<'CONF';
	route { sni a.example.net A2.Example.net; pool a; }
	route { sni *.example.org; alpn sip; pool b; }
	route { alpn x-c; pool c; }
	route { sni bad.example.org *.bad.example.org; refuse on; }
	route { sni local.example.net; }
CONF
my $sy = Steelyard->start(<<CONF);
workers 1;
$pools
virtual-service strict { listen 127.0.0.1:0; protocol tls { $routes default refuse; no-sni refuse; require-hello 500ms; } pool own; monitor off; }
virtual-service loose { listen 127.0.0.1:0; protocol tls { $routes not-tls pass; } pool own; monitor off; }
pool both { server own 127.0.0.1:@{[ $raw{own}->port ]}; server a 127.0.0.1:@{[ $raw{a}->port ]}; }
virtual-service same { listen 127.0.0.1:0; protocol tls; pool both; monitor off; persistence host; scheduler round-robin; }
CONF
my %port = map { $_ => $sy->port($_) } qw(strict loose);

# ---- hellos made here ----

sub extension { my ($type, $data) = @_; return pack('n n/a', $type, $data) }

sub message {
	my (%with) = @_;
	my $ext = '';
	$ext .= extension(0, pack 'n/a', "\0" . pack 'n/a', $with{sni}) if defined $with{sni};
	$ext .= extension(16, pack 'n/a', join '', map { pack 'C/a', $_ } @{ $with{alpn} }) if $with{alpn};
	$ext .= extension(0x2b2b, 'x' x $with{padding}) if $with{padding};
	$ext .= $with{more} // '';
	my $body = pack('n', 0x303) . ('r' x 32) . pack('C/a n/a C/a n/a', 'session', "\x13\x01\xc0\x2f", "\0", $ext);
	return "\1" . substr(pack('N', length $body), 1) . $body;
}

sub records {
	my ($message, $size) = @_;
	return join '', map { "\x16\3\1" . pack 'n/a', $_ } unpack "(a$size)*", $message;
}

sub hello { return records(message(@_), 16384) }

# Who answers, and whether with all that was said.
sub route {
	my ($service, $bytes, $segment) = @_;
	my $sock = dial($port{$service});
	say($sock, $_) for $segment ? unpack "(a$segment)*", $bytes : $bytes;
	half_close($sock);
	my $got = hear_all($sock);
	return $got =~ /^(\w+) (\w+)\n/ ? $2 eq sha256_hex($bytes) ? $1 : "$1, other bytes"
		: $got =~ /^\x15\x03\x03\x00\x02\x02(.)/s ? 'alert ' . ord $1 : 'nothing';
}

subtest 'routes' => sub {
	my @table = (
		# hello, strict, loose
		[[sni => 'a.example.net'], 'a', 'a'],
		[[sni => 'A.EXAMPLE.NET'], 'a', 'a'],
		[[sni => 'a2.example.net.'], 'a', 'a'],
		[[sni => 'x.a.example.net'], 'alert 112', 'own'],
		[[sni => 'x.example.org', alpn => ['h2', 'sip']], 'b', 'b'],
		[[sni => 'x.y.example.org', alpn => ['sip']], 'b', 'b'],
		[[sni => 'example.org', alpn => ['sip']], 'alert 112', 'own'],
		[[sni => 'xexample.org', alpn => ['sip']], 'alert 112', 'own'],
		[[sni => 'x.example.org', alpn => ['sips']], 'alert 112', 'own'],
		[[sni => 'x.example.org'], 'alert 112', 'own'],
		[[sni => 'bad.example.org'], 'alert 112', 'alert 112'],
		[[sni => 'bad.example.org', alpn => ['sip']], 'b', 'b'],
		[[sni => 'very.bad.example.org'], 'alert 112', 'alert 112'],
		[[alpn => ['x-c']], 'c', 'c'],
		[[sni => 'any', alpn => ['x-c']], 'c', 'c'],
		[[sni => 'local.example.net'], 'own', 'own'],
		[[], 'alert 112', 'own'],
		[[sni => '192.0.2.1'], 'alert 112', 'own'],
	);
	for my $row (@table) {
		my ($hello, $strict, $loose) = @$row;
		my %with = @$hello;
		my $name = ($with{sni} // 'no name') . ($with{alpn} ? " (@{ $with{alpn} })" : '');
		is(route('strict', hello(@$hello) . 'and more'), $strict, "$name: $strict");
		is(route('loose', hello(@$hello) . 'and more'), $loose, "$name: $loose when it is loose");
	}
};

subtest 'pieces' => sub {
	my $message = message(sni => 'a.example.net', alpn => ['h2']);
	for my $size (16384, 100, 7, 1) {
		is(route('strict', records($message, $size), $_), 'a', "records of $size, segments of " . ($_ || 'all')) for 0, 37;
	}
	is(route('strict', records($message, 16384), 1), 'a', 'bytes alone');
	is(route('strict', hello(sni => 'a.example.net', padding => 1800)), 'a', 'one that is larger than a segment');
	is(route('strict', hello(padding => 12000, sni => 'a.example.net'), 1400), 'a', 'a large one');
	is(route('strict', hello(sni => 'a.example.net', padding => 17000)), 'alert 50', 'one that is too large');
};

subtest 'refusals tell why' => sub {
	my @table = (
		['no route', hello(sni => 'who.example.net'), qr/no route fits the name, and default is refuse.*sni=who\.example\.net/],
		['a rule', hello(sni => 'bad.example.org'), qr/a route refuses the server name or protocol.*sni=bad\.example\.org/],
		['no name', hello(), qr/the client names no server, and no-sni is refuse/],
		['broken', hello(sni => 'a b'), qr/the server name has bytes that no host name has/],
		['twice', hello(sni => 'a.example.net', more => extension(0, "\0\4\0\0\1b")), qr/the ClientHello has an extension twice/],
		['large', hello(padding => 17000), qr/the ClientHello is larger than 16 KiB|exceeds 16 KiB/],
		['SSL 2', "\x80\x2e\1\3\1\0\x15\0\0\0\x10" . 'x' x 37, qr/a hello of SSL 2: the client must be set to use TLS only/],
		['HTTP', "GET / HTTP/1.1\r\n\r\n", qr/the client speaks HTTP without TLS/],
		['SIP', "OPTIONS sip:a SIP/2.0\r\n\r\n", qr/the client speaks SIP without TLS/],
		['PROXY', "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", qr/a PROXY header from who is not in accept-proxy-from/],
		['noise', "hello\n", qr/the client does not speak TLS/],
	);
	for my $row (@table) {
		my ($what, $bytes, $words) = @$row;
		mark($sy);
		my $sock = dial($port{strict});
		say($sock, $bytes);
		hear_all($sock);
		my $line = line_of($sy, $sock);
		like("$line->{words} sni=" . ($line->{sni} // ''), $words, $what);
	}
	mark($sy);
	my $slow = dial($port{strict});
	say($slow, substr hello(sni => 'a.example.net'), 0, 50);
	hear_all($slow);
	like(line_of($sy, $slow)->{words}, qr/^client .*(time|deadline|late)/, 'one that does not come to its end: ' . line_of($sy, $slow)->{words});
	is(route('loose', "GET / HTTP/1.1\r\n"), 'own', 'something else passes where it may');
};

subtest 'what is told' => sub {
	mark($sy);
	my $sock = dial($port{strict});
	say($sock, hello(sni => 'A.example.net'));
	half_close($sock);
	hear_all($sock);
	my $line = line_of($sy, $sock);
	is($line->{sni}, 'a.example.net', 'the line of a connection shows the name');
	is($line->{server}, 'a', 'and the server');
	ok(!exists $line->{tls}, 'and no cipher of ours');
	my $held = dial($port{strict});
	say($held, hello(sni => 'a.example.net'));
	my $seen = Steelyard::wait_for('it to be listed', sub {
		my ($one) = grep { ($_->{server} // '') eq 'a' } @{ $sy->api('GET', '/v1/connections?service=strict')->{connections} };
		$one });
	is($seen->{sni}, 'a.example.net', 'the list shows it, too');
};

subtest 'persistence by name' => sub {
	$port{same} = $sy->port('same');
	my %served;
	for my $i (1 .. 8) {
		$served{$_}{ route('same', hello(sni => "n$_.example.net")) }++ for 1 .. 6;
	}
	is(scalar(grep { keys %$_ == 1 } values %served), 6, 'a name has its server');
};

# ---- real clients ----

my $certs = Certificates->new;
$certs->authority('ca');
$certs->issue('all', ca => 'ca', names => ['a.example.net', 'b.example.net']);
my $dir = $certs->dir;

sub web_server {
	my $name = shift;
	my $ctx = IO::Socket::SSL::SSL_Context->new(SSL_server => 1, SSL_cert_file => "$dir/all.crt",
		SSL_key_file => "$dir/all.key", SSL_version => 'SSLv23', SSL_cipher_list => 'ALL:@SECLEVEL=0') or die $SSL_ERROR;
	return Steelyard->server($name, on => sub {
		my $plain = shift;
		return close $plain if fork;
		my $conn = IO::Socket::SSL->start_SSL($plain, SSL_server => 1, SSL_reuse_ctx => $ctx) or POSIX::_exit(1);
		while (my $line = <$conn>) { last if $line =~ /^\r?\n/ }
		print $conn "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 8\r\nConnection: close\r\n\r\n<p>is $name\n";
		close $conn;
		POSIX::_exit(0);
	});
}

subtest 'real clients' => sub {
	my %web = map { $_ => web_server($_) } qw(a b);
	my $real = Steelyard->start(join('', map { "pool $_ { server $_ 127.0.0.1:@{[ $web{$_}->port ]}; }\n" } sort keys %web) . <<'CONF');
virtual-service real { listen 127.0.0.1:0; protocol tls { route { sni b.example.net; pool b; } default refuse; } pool a; monitor off; }
CONF
	my $to = $real->port('real');
	my $get = 'printf "GET / HTTP/1.0\r\n\r\n"';
	my %version = (tls1 => '-cipher ALL:@SECLEVEL=0', tls1_1 => '-cipher ALL:@SECLEVEL=0', tls1_2 => '-alpn h2,http/1.1', tls1_3 => '-groups P-521:X25519');
	for my $version (sort keys %version) {
		my $out = `$get | openssl s_client -connect 127.0.0.1:$to -servername B.example.net -$version $version{$version} -quiet 2>&1`;
		like($out, qr/is b/, "openssl s_client -$version");
	}
	my $out = `$get | openssl s_client -connect 127.0.0.1:$to -noservername -quiet 2>&1`;
	like($out, qr/is a/, 'openssl s_client without a name');
	# It leaves when its input ends.
	for my $priority ('NORMAL', 'NORMAL:-VERS-ALL:+VERS-TLS1.0:%COMPAT') {
		$out = `($get; sleep 2) | gnutls-cli --insecure --sni-hostname b.example.net --priority '$priority' -p $to 127.0.0.1 2>&1`;
		like($out, qr/is b/, "gnutls-cli $priority");
	}
	for my $how ('', '--http1.1', '--tlsv1.3', '--tls-max 1.2') {
		$out = `curl -sS --cacert $dir/ca.crt --resolve b.example.net:$to:127.0.0.1 $how https://b.example.net:$to/ 2>&1`;
		like($out, qr/is b/, "curl $how");
	}
	my $profile = File::Temp->newdir;
	$out = `HOME=$profile timeout 120 chromium --headless --no-sandbox --disable-gpu --disable-quic --disable-dev-shm-usage --no-first-run --disable-background-networking --user-data-dir=$profile/p --ignore-certificate-errors --host-resolver-rules='MAP b.example.net 127.0.0.1,MAP * ~NOTFOUND,EXCLUDE 127.0.0.1' --dump-dom https://b.example.net:$to/ 2>$profile/words`;
	like($out, qr/is b/, 'Chromium') or diag `cat $profile/words`;
	is($real->stop, 0, 'it ends well');
};
is($sy->stop, 0, 'it ends well');

# ---- settings that are wrong ----

subtest 'broken settings' => sub {
	my @bad = (
		['route { pool a; }', qr/it needs sni, alpn or both/],
		['route { sni a.*.net; }', qr/sni a\.\*\.net: '\*' does not belong into a host name; \* may only stand before the first dot/],
		['route { sni .example.net; }', qr/a host name without a dot at its ends/],
		['route { sni a; pool a; refuse on; }', qr/refuse and a pool contradict each other/],
		['route { sni a b; } route { sni B; pool a; }', qr/sni B is in an earlier route already/],
		['route { sni a; pool nowhere; }', qr/nowhere/],
		['default maybe;', qr/default maybe|pass.*refuse/],
		['require-hello 1ms;', qr/require-hello/],
	);
	for my $bad (@bad) {
		my $file = $certs->write_file('steelyard.conf', "user nobody;\npool p { server s 192.0.2.1:1; }\npool a { server s 192.0.2.2:1; }\nvirtual-service x { listen 127.0.0.1:0; pool p; monitor off;\nprotocol tls { $bad->[0] } }\n");
		like(scalar `$ENV{STEELYARD_BUILD}/steelyardd -t -c $file -m $ENV{STEELYARD_BUILD}/t/modules 2>&1`, qr/steelyard\.conf:5: [^\n]*$bad->[1]/, $bad->[0]);
	}
};
done_testing;
