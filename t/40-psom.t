#!/usr/bin/env perl
# Protocol psom and monitor psom with real TLS: what passes untouched, who is counted and sent away, what
# frames are checked for where TLS ends here, and which servers count as up.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Certificates;
use IO::Select;
use IO::Socket::INET;
use IO::Socket::SSL;
use Steelyard;
use Time::HiRes qw(time sleep);

my $certs = Certificates->new;
$certs->authority('ca');
$certs->issue('webconf', ca => 'ca', key => 'ec', names => ['webconf.example.net']);
my $dir = $certs->dir;

# Says "NAME: " and each line behind TLS; `how`: after the handshake waits, closes or speaks.
sub tls_server {
	my ($name, $how, %tls) = @_;
	my $ctx = IO::Socket::SSL::SSL_Context->new(SSL_server => 1, SSL_cert_file => "$dir/webconf.crt",
		SSL_key_file => "$dir/webconf.key", SSL_session_id_context => 'test', %tls) or die $SSL_ERROR;
	return Steelyard->server($name, on => sub {
		my $plain = shift;
		return close $plain if fork;
		my $conn = IO::Socket::SSL->start_SSL($plain, SSL_server => 1, SSL_reuse_ctx => $ctx) or POSIX::_exit(1);
		if ($how eq 'closes') {
			close $conn;
			POSIX::_exit(0);
		}
		syswrite $conn, "$name speaks\n" if $how eq 'speaks';
		while (my $line = <$conn>) {
			syswrite $conn, "$name: $line";
		}
		close $conn;
		POSIX::_exit(0);
	});
}
my $good = tls_server('good', 'waits');
my $closes = tls_server('closes', 'closes');
my $speaks = tls_server('speaks', 'speaks');
my %mutual = (SSL_verify_mode => SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, SSL_ca_file => "$dir/ca.crt");
my $mutual12 = tls_server('mutual12', 'waits', %mutual, SSL_version => 'TLSv1_2');
my $mutual13 = tls_server('mutual13', 'waits', %mutual, SSL_version => 'TLSv1_3');
my $clear = Steelyard->server('clear', mute => 1);
my $frames = Steelyard->server('frames', on => sub { # echoes bytes
	my $sock = shift;
	return close $sock if fork;
	syswrite $sock, $_ while sysread $sock, $_, 4096;
	POSIX::_exit(0);
});

my $tls = "tls { certificate $dir/webconf.crt { key $dir/webconf.key; } }";
my $sy = Steelyard->start(<<"CONF");
pool good { server good 127.0.0.1:@{[ $good->port ]}; }
pool frames { server frames 127.0.0.1:@{[ $frames->port ]}; }
pool all {
	server good 127.0.0.1:@{[ $good->port ]};
	server closes 127.0.0.1:@{[ $closes->port ]};
	server speaks 127.0.0.1:@{[ $speaks->port ]};
	server mutual12 127.0.0.1:@{[ $mutual12->port ]};
	server mutual13 127.0.0.1:@{[ $mutual13->port ]};
	server clear 127.0.0.1:@{[ $clear->port ]};
	server nobody 127.0.0.1:1;
}
virtual-service open { listen 127.0.0.1:0; pool good; monitor off; protocol psom { deadline 400ms; } }
virtual-service strict {
	listen 127.0.0.1:0; pool good; monitor off;
	protocol psom { names webconf.example.net *.conf.example.net; nameless close; browsers close; }
}
virtual-service lax { listen 127.0.0.1:0; pool frames; monitor off; protocol psom { strangers pass; } }
virtual-service ended {
	listen 127.0.0.1:0 { $tls }
	pool frames; monitor off;
	protocol psom { names webconf.example.net; frame { check on; offset 1; size 2; adjust 3; max 100; } }
}
virtual-service little {
	listen 127.0.0.1:0 { $tls }
	pool frames; monitor off;
	protocol psom { frame { check on; size 4; endian little; max 1k; } }
}
virtual-service checked {
	listen 127.0.0.1:0; pool all; protocol psom;
	monitor psom { interval 20s; timeout 10s; hold 150ms; rise 1; fall 1; fast-interval 0; }
}
virtual-service verified {
	listen 127.0.0.1:0; pool good;
	monitor psom { interval 20s; timeout 4s; hold 10s; rise 1; fall 1; verify on; ca $dir/ca.crt; name webconf.example.net; }
}
virtual-service misnamed {
	listen 127.0.0.1:0; pool good;
	monitor psom { interval 20s; timeout 10s; hold 0; rise 1; fall 1; verify on; ca $dir/ca.crt; name other.example.net; }
}
CONF
my %port = map { $_ => $sy->port($_) } qw(open strict lax ended little);

sub tls {
	my ($service, %opt) = @_;
	return IO::Socket::SSL->new(PeerAddr => '127.0.0.1', PeerPort => $port{$service}, Timeout => 20,
		SSL_ca_file => "$dir/ca.crt", SSL_verifycn_name => 'webconf.example.net', SSL_verifycn_scheme => 'http',
		SSL_hostname => 'webconf.example.net', %opt);
}
sub line { # '' at the end
	my $sock = shift;
	local $SIG{ALRM} = sub { die "no answer in time\n" };
	alarm 30;
	my $line = <$sock>;
	alarm 0;
	return $line // '';
}
sub plain {
	my ($service, @parts) = @_;
	my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port{$service}, Timeout => 20) or die $@;
	for my $part (@parts) {
		syswrite $sock, $part;
		sleep 0.02 if @parts > 1; # segments of their own
	}
	return $sock;
}
sub rest {
	my $sock = shift;
	my $all = '';
	local $SIG{ALRM} = sub { die "no end in time\n" };
	alarm 30;
	while (sysread $sock, my $bytes, 4096) { $all .= $bytes }
	alarm 0;
	return $all;
}
sub figures {
	my $service = shift;
	my ($s) = grep { $_->{name} eq $service } @{ $sy->api('GET', '/v1/services')->{services} };
	return $s->{figures} || {};
}
sub counted {
	my ($service, $name, $n) = @_;
	my $last;
	my $ok = eval { Steelyard::wait_for("$n", sub { ($last = figures($service)->{$name} // 'none') eq $n }, 20) };
	is($last, $n, "$service: $name is counted");
}

# ---- passed through ----
my $long = tls('open');
ok($long, 'TLS passes through, with the certificate of the server') or diag $SSL_ERROR;
print $long "slides\n";
is(line($long), "good: slides\n", 'and what is said');
ok(tls('open', SSL_hostname => ''), 'a client without a name');
ok(tls('open', SSL_alpn_protocols => ['h2', 'http/1.1']), 'a browser is only counted');
counted('open', hellos => 3);
counted('open', nameless => 1);
counted('open', browsers => 1);
sleep 0.6;
print $long "later\n";
is(line($long), "good: later\n", 'the deadline is for the hello, not for the meeting');

# ---- sent away ----
my @strangers = (
	[ clear_http => qr/speaks HTTP without TLS/, "GET / HTTP/1.1\r\nHost: x\r\n\r\n" ],
	[ clear_http => qr/speaks HTTP without TLS/, 'G', 'E', "T / HTTP/1.0\r\n\r\n" ],
	[ sslv2 => qr/speaks SSL 2/, "\x80\x2e\x01\x03\x01\x00\x15" . "\0" x 40 ],
	[ garbage => qr/does not speak TLS/, "\x03\x00\x00\x13\x0e\xe0\0\0\0\0\0\1\0\x08\0\0\0\0\0" ],
	[ garbage => qr/does not speak TLS/, "SSH-2.0-scanner\r\n" ],
	[ bad_hello => qr/ClientHello|record|hello|length/i, "\x16\x03\x01\x00\x06\x01\x00\x00\x02\x03\x03" ],
);
for my $case (@strangers) {
	my ($name, $words, @parts) = @$case;
	my $before = figures('open')->{$name} // 0;
	my $got = rest(plain('open', @parts));
	unlike($got, qr/[a-z]/, "$name: no server hears of it");
	counted('open', $name => $before + 1);
	ok(scalar $sy->wait_log($words), "$name: the log says why");
}
is(rest(plain('open', "\x16\x03\x01")), '', 'half a hello, and no more: closed');
{
	my $sock = plain('lax', "GET / HTTP/1.0\r\n");
	is(line($sock), "GET / HTTP/1.0\r\n", 'strangers pass: they do');
	counted('lax', clear_http => 1);
}

# ---- names ----
ok(tls('strict'), 'the name that is served');
ok(tls('strict', SSL_hostname => 'WebConf.Example.NET'), 'in any case');
ok(tls('strict', SSL_hostname => 'a.conf.example.net'), 'a name of the wildcard');
for my $name (qw(conf.example.net a.b.conf.example.net webconf.example.net.org other.example.net)) {
	my $client = tls('strict', SSL_hostname => $name);
	ok(!$client, "$name is not served");
	like($SSL_ERROR, qr/unrecognized/i, 'and the client is told in TLS') if $name =~ /^other/;
}
counted('strict', wrong_name => 4);
ok(!tls('strict', SSL_hostname => ''), 'no name: sent away where that was asked for');
ok(!tls('strict', SSL_alpn_protocols => ['http/1.1']), 'a browser, too');
ok(tls('strict', SSL_alpn_protocols => ['psom']), 'another protocol is not HTTP');

# ---- frames, where TLS ends ----
sub frame { "F" . pack('n', length $_[0]) . $_[0] }
{
	my $client = tls('ended');
	ok($client, 'TLS ends here') or diag $SSL_ERROR;
	my $said = frame('one') . frame('') . frame("three\n");
	syswrite $client, $said;
	my $got = '';
	while (length $got < length $said) {
		sysread $client, $got, 4096, length $got or last;
	}
	is($got, $said, 'frames pass both ways');
	syswrite $client, substr(frame("cut\n"), 0, 2);
	syswrite $client, substr(frame("cut\n"), 2);
	is(line($client), frame("cut\n"), 'in pieces, too');
	syswrite $client, 'F' . pack('n', 98) . 'x' x 98;
	is(line($client), '', 'one that is too large: closed');
	counted('ended', bad_frames => 1);
	ok(scalar $sy->wait_log(qr/a frame of the client has a length that does not fit/), 'with the side that said it');
	cmp_ok(figures('ended')->{frames}, '>=', 8, 'frames are counted');
	my $small = tls('little');
	syswrite $small, pack('V', 9) . "abcd\n";
	is(line($small), pack('V', 9) . "abcd\n", 'little endian, the length counts itself');
	syswrite $small, pack('V', 3) . "x";
	is(line($small), '', 'a length that is smaller than its own head: closed');
	my $name = tls('ended', SSL_hostname => 'other.example.net', SSL_verify_mode => SSL_VERIFY_NONE);
	print $name frame("x") if $name;
	is($name ? line($name) : '', '', 'names are looked at where TLS ends, too');
}

# ---- the monitor ----
for my $case (['good', 'up', qr/handshake done, and the server waits/], ['speaks', 'up', qr/speaks/],
	['mutual12', 'up', qr/asks for a client certificate, so it is alive/], ['mutual13', 'up', qr/asks for a client certificate/],
	['closes', 'down', qr/closed the connection right after the handshake/], ['clear', 'down', qr/TLS handshake/],
	['nobody', 'down', qr/refused/]) {
	my ($server, $state, $words) = @$case;
	ok(eval { $sy->wait_state('checked', $server, $state) }, "$server is $state") or diag $@;
	my $checks = join "\n", map { JSON::PP::encode_json($_) } grep { $_->{server} eq $server } @{ $sy->api('GET', '/v1/checks')->{checks} };
	like($checks, $words, "$server: in words");
}
$sy->wait_up('verified', 'good');
pass('a hold longer than the timeout: what is left of it');
ok(eval { $sy->wait_down('misnamed', 'good') }, 'a certificate with another name is down') or diag $@;

# The meeting is still on, and survives a reload.
my ($ok, $text) = $sy->reload;
ok($ok, 'reload') or diag $text;
print $long "end\n";
is(line($long), "good: end\n", 'the meeting goes on');

for my $bad ([ 'names a/b;', qr/no host name/ ], [ 'names a.*;', qr/no host name/ ],
	[ 'frame { check on; offset 60; max 10; }', qr/smaller than the frame's head/ ]) {
	open my $out, '>', "$dir/bad.conf" or die $!;
	print $out ($> == 0 ? 'user nobody; ' : ''), "pool p { server s 127.0.0.1; } virtual-service v { listen 127.0.0.1:0; pool p; monitor off; protocol psom { $bad->[0] } }\n";
	close $out;
	my $said = `@{[ Steelyard::steelyardd() ]} -t -m @{[ Steelyard::modules() ]} -c $dir/bad.conf 2>&1`;
	like($said, $bad->[1], "refused: $bad->[0]");
}
is($sy->stop, 0, 'the end');
done_testing;
