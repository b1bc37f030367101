#!/usr/bin/env perl
# Protocol http with real peers: curl, nginx, the websockets library of Python, and a server that logs
# connections on with NTLM (MS-NLMP, MS-NTHT) and tells when a request of somebody else comes over one.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Digest::MD5 qw(md5_hex);
use File::Temp qw(tempdir);
use IO::Socket::INET;
use Crowd ();
use Steelyard;
use Way qw(dial say hear hear_all ending half_close line_of mark);
use Web qw(web ntlm curl nginx);

plan skip_all => 'curl is not installed' if system('command -v curl >/dev/null 2>&1');

my $dir = tempdir('steelyard-http-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $dir;

# ---- servers ----

my $plain = sub {
	my $name = shift;
	return sub {
		my ($request, $state, $sock) = @_;
		return ('200 OK', "X-Server: $name\r\n", "$request->{length} $request->{sum}\n") if $request->{path} =~ m{^/sum};
		return ('200 OK', "X-Server: $name\r\nContent-Length: 100\r\nConnection: close\r\n", 'half') if $request->{path} eq '/cut';
		return ('200 OK', "X-Server: $name\r\n", $request->{head}) if $request->{path} eq '/head';
		return ('200 OK', "X-Server: $name\r\n", "$name $state->{peer} $state->{n} $request->{path}\n");
	};
};
my ($s1, $s2) = map { web($_, $plain->($_)) } qw(s1 s2);

my $ntlm = ntlm();

# Answers the first request of a connection, and dies of the second, that it has taken. Each is written down.
my $dying = web('dying', sub {
	my ($request, $state) = @_;
	open my $book, '>>', "$dir/dying" or die $!;
	syswrite $book, "$request->{method} $request->{path}\n";
	return $state->{n} > 1 ? () : ('200 OK', '', "well\n");
});

my $nginx_port;
sub serve_files {
	$nginx_port = Steelyard::free_port();
	my $nginx = nginx("server { listen 127.0.0.1:$nginx_port; root HERE; }",
		ready => sub { IO::Socket::INET->new("127.0.0.1:$nginx_port") }) or return undef;
	open my $big, '>', $nginx->dir . '/big' or die $!;
	truncate $big, size();
	close $big;
	open my $small, '>', $nginx->dir . '/index.html' or die $!;
	print $small "nginx is here\n";
	close $small;
	return $nginx;
}
sub size { Crowd::sanitized() ? 256 << 20 : 1 << 30 }

my $nginx = serve_files();
my $conf = <<CONF;
workers 1;
pool two { server s1 127.0.0.1:@{[ $s1->port ]}; server s2 127.0.0.1:@{[ $s2->port ]}; }
pool other { server s2 127.0.0.1:@{[ $s2->port ]}; }
pool ntlm { server ntlm 127.0.0.1:@{[ $ntlm->port ]}; }
pool dying { server dying 127.0.0.1:@{[ $dying->port ]}; }
pool nobody { server nobody 127.0.0.1:1; }
pool nginx { server nginx 127.0.0.1:@{[ $nginx_port || 1 ]}; }
virtual-service web { listen 127.0.0.1:0; pool two; scheduler round-robin; monitor off; idle-timeout 60s;
	protocol http { header-timeout 700ms; keepalive-timeout 2s;
		rule { path /other/*; pool other; }
		rule { path /secret*; deny on; }
		rule { host go.example.net; redirect https://%host%target; }
	} }
virtual-service ntlm { listen 127.0.0.1:0; pool ntlm; protocol http; monitor off; idle-timeout 60s; }
virtual-service dying { listen 127.0.0.1:0; pool dying; protocol http; monitor off; idle-timeout 60s; }
virtual-service nobody { listen 127.0.0.1:0; pool nobody; protocol http; monitor off; }
virtual-service nginx { listen 127.0.0.1:0; pool nginx; protocol http; monitor off; idle-timeout 60s; }
CONF
my $sy = Steelyard->start($conf);
my %port = map { $_ => $sy->port($_) } qw(web ntlm dying nobody nginx);

sub url { my ($service, $path) = @_; return "http://127.0.0.1:$port{$service}$path" }

subtest 'requests' => sub {
	my @lines = split /\n/, curl(map { url('web', "/a$_") } 1 .. 6);
	is(scalar(grep { /^s1 / } @lines), 3, 'half of the requests of one client connection to one server');
	is(scalar(grep { /^s2 / } @lines), 3, 'half to the other');
	is(join(' ', map { (split)[3] } @lines), join(' ', map { "/a$_" } 1 .. 6), 'in order');
	is(curl('-o', '/dev/null', '-w', '%{num_connects}', url('web', '/'), '-o', '/dev/null', url('web', '/')), '10',
		'the client has connected once');
	my %peer = map { (split)[0, 1] } @lines;
	is(scalar(grep { $peer{(split)[0]} eq (split)[1] } @lines), 6, 'and we once to each server');
	like(curl(url('web', '/other/x')), qr/^s2 /, 'a rule leads to another pool') for 1 .. 2;
	is(curl('-o', '/dev/null', '-w', '%{http_code}', url('web', '/%73ecret')), '403', 'a rule denies');
	is(curl('-o', '/dev/null', '-w', '%{redirect_url}', '-H', 'Host: go.example.net', url('web', '/x?y')), 'https://go.example.net/x?y',
		'a rule redirects');
	like(curl(url('web', '/head')), qr/^X-Forwarded-For: 127\.0\.0\.1\r$/m, 'the server is told of the client');
	like(curl('-I', url('web', '/')), qr/^HTTP\/1.1 200 OK\r.*Content-Length: \d+\r\n\r\n\z/s, 'HEAD');
	like(curl('-0', url('web', '/')), qr/^s\d /, 'HTTP/1.0');
	my $sock = dial($port{web});
	say($sock, join '', map { "GET /p$_ HTTP/1.1\r\nHost: a\r\n\r\n" } 1 .. 20);
	my $all = hear($sock, qr/p20\n/);
	is(join(' ', $all =~ m{/p(\d+)\n}g), join(' ', 1 .. 20), 'twenty at once are answered in order');
};

subtest 'a server\'s connection that dies of a request' => sub {
	my $ask = sub {
		my ($method, $path, @more) = @_;
		is(curl('-o', '/dev/null', '-w', '%{http_code}', url('dying', "/first$path")), '200', "$method: a connection to the server is there");
		return curl('-X', $method, @more, '-o', '/dev/null', '-w', '%{http_code}', url('dying', $path));
	};
	is($ask->('GET', '/a'), '200', 'GET is said again, on another connection');
	is($ask->('PUT', '/b', '-d', 'x'), '200', 'and PUT: it may be done twice');
	is($ask->('POST', '/c', '-d', 'x'), '502', 'POST is not');
	is($ask->('GET', '/d'), '200', 'GET again');
	is($ask->('PATCH', '/e', '-d', 'x'), '502', 'nor is what we do not know');
	open my $book, '<', "$dir/dying" or die $!;
	my %times;
	chomp, $times{$_}++ while <$book>;
	is($times{'GET /a'}, 2, 'GET: twice');
	is($times{'PUT /b'}, 2, 'PUT: twice');
	is($times{'POST /c'}, 1, 'POST: once');
	is($times{'PATCH /e'}, 1, 'PATCH: once');
};

subtest 'bodies' => sub {
	my $body = join '', map { chr rand 256 } 1 .. 300_000;
	open my $file, '>:raw', "$dir/up" or die $!;
	print $file $body;
	close $file;
	my $want = length($body) . ' ' . md5_hex($body) . "\n";
	is(curl('--data-binary', "\@$dir/up", url('web', '/sum')), $want, 'with a length');
	is(curl('-H', 'Expect:', '--data-binary', "\@$dir/up", url('web', '/sum')), $want, 'without Expect');
	is(curl('-H', 'Transfer-Encoding: chunked', '--data-binary', "\@$dir/up", url('web', '/sum')), $want, 'in chunks');
	is(curl('-T', "$dir/up", url('web', '/sum')), $want, 'PUT');
	my ($text, $status) = curl(url('web', '/cut'));
	like($status, qr/^(?:18|56)$/, 'a body that is cut is not taken for whole');
};

subtest 'a server that is not there' => sub {
	my $sock = dial($port{nobody});
	say($sock, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	like(hear_all($sock), qr/^HTTP\/1\.1 503 Service Unavailable\r\n.*<!doctype html>.*<end>\z/s, 'a page tells');
};

subtest 'the slow and the strange' => sub {
	mark($sy);
	my $sock = dial($port{web});
	say($sock, "GET / HTTP/1.1\r\nHo");
	like(hear_all($sock), qr/^HTTP\/1\.1 408 /, 'a head that takes too long');
	like(line_of($sy, $sock)->{words}, qr/header-timeout/, 'its reason');
	$sock = dial($port{web});
	say($sock, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	like(hear_all($sock), qr/^HTTP\/1\.1 200 .*<(?:end|reset)>\z/s, 'who asks nothing more is let go');
	like(line_of($sy, $sock)->{words}, qr/keepalive-timeout/, 'its reason');
	$sock = dial($port{web});
	say($sock, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
	like(hear_all($sock), qr/^HTTP\/1\.1 400 .*<end>\z/s, 'what could be two requests');
	like(line_of($sy, $sock)->{words}, qr/both Content-Length and Transfer-Encoding/, 'its reason');
};

subtest 'NTLM' => sub {
	plan skip_all => 'this curl knows no NTLM' unless `curl --version` =~ /\bNTLM\b/;
	my @pipes;
	for my $n (1 .. 12) {
		my $user = $n % 3 ? "user$n" : undef;
		my @who = $user ? ('--ntlm', '-u', "$user:secret", '-H', "X-User: $user") : ();
		open my $out, '-|', 'curl', '-sS', '--max-time', 100, @who,
			map { url('ntlm', $user && $_ == 1 ? '/in' : "/r$_") } 1 .. 40 or die $!;
		push @pipes, [$user // 'nobody', $out];
	}
	my %wrong;
	for (@pipes) {
		my ($user, $out) = @$_;
		my @lines = <$out>;
		is(scalar(grep { $_ eq "well $user\n" } @lines), 40, "$user is taken for $user each time") or diag "@lines[0 .. 3]";
	}
};

subtest 'WebSocket' => sub {
	my $python = '/usr/bin/python3';
	plan skip_all => 'python3-websockets is not installed' if system("$python -c 'import websockets' 2>/dev/null");
	open my $script, '>', "$dir/ws.py" or die $!;
	print $script <<'PYTHON';
import asyncio, sys, websockets
async def echo(ws, *rest):
    async for message in ws:
        await ws.send(message)
async def main():
    server = await websockets.serve(echo, '127.0.0.1', 0, max_size=None)
    print(server.sockets[0].getsockname()[1], flush=True)
    port = int(sys.stdin.readline())
    good = 0
    async with websockets.connect('ws://127.0.0.1:%d/chat' % port, max_size=None) as ws:
        for i in range(300):
            text = 'x' * (i * 97 % 70000) + str(i)
            await ws.send(text)
            good += await ws.recv() == text
    print(good, flush=True)
asyncio.run(main())
PYTHON
	close $script;
	require IPC::Open2;
	my $pid = IPC::Open2::open2(my $out, my $in, $python, "$dir/ws.py");
	my $port = <$out>;
	chomp $port;
	my ($ok, $text) = $sy->reload($conf . "pool ws { server ws 127.0.0.1:$port; }\n" .
		"virtual-service ws { listen 127.0.0.1:0; pool ws; protocol http; monitor off; }\n");
	ok($ok, 'a service for it') or diag $text;
	print $in $sy->port('ws'), "\n";
	$in->flush;
	is(<$out> // '', "300\n", 'messages of all sizes come back');
	waitpid $pid, 0;
};

subtest 'a gigabyte' => sub {
	plan skip_all => 'nginx is not installed' unless $nginx;
	is(curl(url('nginx', '/')), "nginx is here\n", 'nginx answers');
	my $worker = $sy->pid_of('worker');
	my $before = Crowd::memory($worker)->{pss_anon} // 0;
	is(`curl -sS --max-time 200 @{[ url('nginx', '/big') ]} | cmp - @{[ $nginx->dir ]}/big 2>&1`, '', 'down: ' . size() . ' bytes');
	my ($want) = split ' ', `md5sum < @{[ $nginx->dir ]}/big`;
	is(curl('-H', 'Expect:', '-T', $nginx->dir . "/big", url('web', '/sum')), size() . " $want\n", 'up: the same');
	my $grown = (Crowd::memory($worker)->{pss_anon} // 0) - $before;
	cmp_ok($grown, '<', 8192, "the worker's memory stays flat ($grown KiB)") unless Crowd::sanitized();
};

is($sy->stop, 0, 'it ends well');
done_testing;
