#!/usr/bin/env perl
# HTTP/2 over TLS: listeners offer it by themselves (ALPN), and what does not fit together is an error at
# load. curl, h2load and nghttp as clients; NTLM goes back to HTTP/1.1, and no request of one user comes over
# the connection of another.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Certificates;
use IO::Socket::SSL;
use Steelyard;
use Way qw(hear hear_all line_of mark);
use Web qw(web ntlm curl);

plan skip_all => 'this curl knows no HTTP/2' unless `curl --version 2>/dev/null` =~ /\bHTTP2\b/;

my $certs = Certificates->new;
$certs->authority('ca');
$certs->issue('web', ca => 'ca', key => 'ec', names => ['web.example.net']);
my $pair = 'certificate ' . $certs->path('web.crt') . '; key ' . $certs->path('web.key') . ';';
my $ca = $certs->path('ca.crt');

my ($s1, $s2) = map { my $name = $_; web($name, sub {
	my $request = shift;
	return ('200 OK', "X-Server: $name\r\n", $request->{path} =~ m{^/sum} ? "$request->{length} $request->{sum}\n" : $request->{path} eq '/head' ? $request->{head} : "$name\n");
}) } qw(s1 s2);
my $ntlm = ntlm();
my $pools = <<CONF;
pool two { server s1 127.0.0.1:@{[ $s1->port ]}; server s2 127.0.0.1:@{[ $s2->port ]}; }
pool ntlm { server ntlm 127.0.0.1:@{[ $ntlm->port ]}; }
CONF
sub service { my ($name, $pool, $tls, $protocol) = @_; return "virtual-service $name { listen 127.0.0.1:0 { tls { $pair $tls } } pool $pool; scheduler round-robin; monitor off; idle-timeout 60s; $protocol }\n" }
my $rest = "workers 1;\n$pools" . service('old', 'two', '', 'protocol https;') . service('ntlm', 'ntlm', '', 'protocol https { http2 on; }') .
	service('named', 'two', 'alpn http/1.1 h2;', 'protocol http { http2 on; }');
my $sy = Steelyard->start($rest . service('web', 'two', '', 'protocol https { http2 on; header-timeout 2s; }'));
my %port = map { $_ => $sy->port($_) } qw(web old ntlm named);
sub url { my ($service, $path) = @_; return "https://web.example.net:$port{$service}$path" }
sub ask { my ($service, @args) = @_; return curl('--cacert', $ca, '--resolve', "web.example.net:$port{$service}:127.0.0.1", @args) }
my @version = ('-o', '/dev/null', '-w', '%{http_version} %{http_code}');

subtest 'what is agreed on' => sub {
	is(ask('web', '--http2', @version, url('web', '/')), '2 200', 'HTTP/2');
	is(ask('web', '--http1.1', @version, url('web', '/')), '1.1 200', 'HTTP/1.1 when that is asked for');
	is(ask('web', '--no-alpn', @version, url('web', '/')), '1.1 200', 'and when nothing is');
	is(ask('old', '--http2', @version, url('old', '/')), '1.1 200', 'http2 is off by default');
	is(ask('named', '--http2', @version, url('named', '/')), '1.1 200', 'alpn says what is preferred');
	like(ask('web', '--http2', url('web', '/head')), qr/^X-Forwarded-Proto: https\r$/m, 'servers are told of TLS');
	my @tls = (PeerAddr => '127.0.0.1', PeerPort => $port{web}, SSL_verify_mode => SSL_VERIFY_NONE);
	my $sock = IO::Socket::SSL->new(@tls, SSL_alpn_protocols => ['h2']) or die $SSL_ERROR;
	is($sock->alpn_selected, 'h2', 'a client that offers HTTP/2 alone');
	mark($sy);
	print $sock "GET / HTTP/1.1\r\nHost: web.example.net\r\n\r\n";
	like(hear_all($sock), qr/<(?:end|reset)>\z/, 'and speaks another is let go');
	like(line_of($sy, $sock)->{words}, qr/no HTTP\/2/, 'its reason');
	$sock = IO::Socket::SSL->new(@tls) or die $SSL_ERROR;
	print $sock "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
	like(hear_all($sock), qr/^HTTP\/1\.1 (?:400|505) /, 'HTTP/2 that was not agreed on is refused');
	is(IO::Socket::SSL->new(@tls, SSL_alpn_protocols => ['spdy/9']), undef, 'a client that offers what nobody speaks');
	$sy->wait_log(qr/no application protocol/);
};

subtest 'wrong combinations' => sub {
	for (
		['protocol https { http2 on; pin on; }', '', qr/pin on gives each client one connection/],
		['protocol https;', 'alpn h2 http/1.1;', qr/alpn h2: protocol https .* does not speak that/],
		['protocol http { http2 off; }', 'alpn h2;', qr/alpn h2: protocol http .* does not speak that/],
		['protocol https { http2 on; }', 'alpn http/1.1;', qr/alpn leaves out h2, which protocol https .* speaks/],
		['protocol https { http2 on; }', 'alpn h2;', qr/alpn leaves out http\/1\.1/],
	) {
		my ($protocol, $tls, $words) = @$_;
		my ($ok, $text) = $sy->reload($rest . service('web', 'two', $tls, $protocol));
		ok(!$ok, "$protocol $tls: an error");
		like($text, $words, 'which says what is wrong');
	}
	my ($ok, $text) = $sy->reload($rest . 'virtual-service web { listen 127.0.0.1:0; pool two; monitor off; protocol https { http2 on; } }');
	like($text, qr/protocol https .* ends TLS, and there is no tls block here/, 'protocol https without TLS');
	($ok, $text) = $sy->reload($rest . service('web', 'two', '', 'protocol https { http2 on; header-timeout 2s; } listen 127.0.0.1:0 { tls { ' . "$pair alpn http/1.1; } }"));
	ok($ok, 'one of two listeners may leave it out') or diag $text;
	$sy->api('GET', '/v1/connections');
	my @ports = map { $sy->port('web', $_) } 0, 1;
	is_deeply([sort map { $port{both} = $_; scalar ask('both', '--http2', @version, url('both', '/')) } @ports], ['1.1 200', '2 200'], 'and only that one does');
	($ok, $text) = $sy->reload($rest . service('web', 'two', '', 'protocol https { header-timeout 2s; }'));
	ok($ok, 'http2 off') or diag $text;
	$sy->api('GET', '/v1/connections');
	$port{web} = $sy->port('web');
	is(ask('web', '--http2', @version, url('web', '/')), '1.1 200', 'is not offered');
	($ok, $text) = $sy->reload($rest . service('web', 'two', '', 'protocol https { http2 on; header-timeout 2s; }'));
	$sy->api('GET', '/v1/connections');
	$port{web} = $sy->port('web');
	is(ask('web', '--http2', @version, url('web', '/')), '2 200', 'and http2 on is again');
};

subtest 'bodies' => sub {
	require Digest::MD5;
	my $body = join '', map { chr rand 256 } 1 .. 1_000_000;
	$certs->write_file('body', $body);
	is(ask('web', '--http2', '--data-binary', '@' . $certs->path('body'), url('web', '/sum')), '1000000 ' . Digest::MD5::md5_hex($body) . "\n", 'up');
};

subtest 'h2load and nghttp' => sub {
	plan skip_all => 'nghttp2-client is not installed' if system('command -v h2load nghttp >/dev/null 2>&1');
	my $text = `h2load -n 2000 -c 4 -m 20 https://127.0.0.1:$port{web}/x 2>&1`;
	like($text, qr/Application protocol: h2\b/, 'h2load agrees on h2');
	like($text, qr/2000 total, 2000 started, 2000 done, 2000 succeeded, 0 failed/, '2000 requests, 20 at once') or diag $text;
	like(`h2load --h1 -n 200 -c 4 https://127.0.0.1:$port{web}/x 2>&1`, qr/Application protocol: http\/1\.1.*200 succeeded, 0 failed/s, 'and on http/1.1');
	my @urls = map { "https://127.0.0.1:$port{web}/n$_" } 1 .. 20;
	$text = `nghttp -nv --no-dep @urls 2>&1`;
	like($text, qr/The negotiated protocol: h2/, 'nghttp agrees on h2');
	is(scalar(() = $text =~ /:status: 200/g), 20, 'twenty requests over one connection are answered');
	like(`nghttp -s @urls[0, 1] 2>&1`, qr/ 200 .* 200 /s, 'with priorities, as nghttp sends them');
};

subtest 'NTLM' => sub {
	plan skip_all => 'this curl knows no NTLM' unless `curl --version` =~ /\bNTLM\b/;
	my @pipes;
	for my $n (1 .. 12) {
		my $user = $n % 3 ? "user$n" : undef;
		my @who = $user ? ('--ntlm', '-u', "$user:secret", '-H', "X-User: $user") : ();
		# Those who are nobody stay with HTTP/2, side by side with the others.
		open my $out, '-|', 'curl', '-sS', '--http2', '--cacert', $ca, '--resolve', "web.example.net:$port{ntlm}:127.0.0.1", '--max-time', 100,
			@who, map { url('ntlm', $user && $_ == 1 ? '/in' : "/r$_") } 1 .. 30 or die $!;
		push @pipes, [$user // 'nobody', $out];
	}
	for (@pipes) {
		my ($user, $out) = @$_;
		my @lines = <$out>;
		is(scalar(grep { $_ eq "well $user\n" } @lines), 30, "$user is taken for $user each time") or diag "@lines[0 .. 3]";
	}
	my ($service) = grep { $_->{name} eq 'ntlm' } @{ $sy->api('GET', '/v1/services')->{services} };
	my %figure = %{ $service->{figures} // {} };
	cmp_ok($figure{h2_streams_total} // 0, '>=', 4 * 30, 'nobody spoke HTTP/2') or diag explain $service;
	cmp_ok($figure{h2_sent_back} // 0, '>=', 8, 'who logs on was sent back to HTTP/1.1');
	cmp_ok($figure{pinned_total} // 0, '>=', 8, 'and pinned there');
};

is($sy->stop, 0, 'it ends well');
done_testing;
