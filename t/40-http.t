#!/usr/bin/env perl
# Protocol http with real peers: curl, nginx, the websockets library of Python, and a server that logs
# connections on with NTLM (MS-NLMP, MS-NTHT) and tells when a request of somebody else comes over one.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Digest::SHA qw(sha256_hex);
use File::Temp qw(tempdir);
use IO::Socket::INET;
use MIME::Base64 qw(decode_base64 encode_base64);
use Crowd ();
use Steelyard;
use Way qw(dial say hear hear_all ending half_close line_of mark);

plan skip_all => 'curl is not installed' if system('command -v curl >/dev/null 2>&1');

my $dir = tempdir('steelyard-http-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $dir;

# ---- servers ----

# One request after the other, over HTTP/1.1; the code answers with (status, fields, body).
sub web {
	my ($name, $code) = @_;
	return Steelyard->server($name, on => sub {
		my $sock = shift;
		return if fork;
		my $state = { peer => $sock->peerport, n => 0 };
		my $in = '';
		while (1) {
			until ($in =~ /\r\n\r\n/) { sysread($sock, $in, 65536, length $in) or POSIX::_exit(0) }
			$in =~ s/^(.*?\r\n)\r\n//s;
			my $head = $1;
			my ($method, $path) = $head =~ /^(\S+) (\S+)/;
			my %field = map { lc($_->[0]) => $_->[1] } map { [/^([^:]+):\s*(.*)$/] } split /\r\n/, $head =~ s/^.*?\r\n//r;
			my $request = { method => $method, path => $path, field => \%field, head => $head };
			syswrite $sock, "HTTP/1.1 100 Continue\r\n\r\n" if ($field{expect} // '') =~ /100/;
			my $sum = Digest::SHA->new(256);
			my $left = $field{'content-length'} // 0;
			my $length = 0;
			if (($field{'transfer-encoding'} // '') eq 'chunked') {
				while (1) {
					until ($in =~ /\r\n/) { sysread($sock, $in, 65536, length $in) or POSIX::_exit(0) }
					$in =~ s/^([0-9a-f]+)[^\r]*\r\n//i or POSIX::_exit(0);
					my $size = hex $1;
					while (length $in < $size + 2) { sysread($sock, $in, 65536, length $in) or POSIX::_exit(0) }
					$sum->add(substr $in, 0, $size, '');
					substr $in, 0, 2, '';
					$length += $size;
					last unless $size;
				}
			}
			while ($left > 0) {
				sysread($sock, $in, 1 << 20) or POSIX::_exit(0) unless length $in;
				my $piece = substr $in, 0, $left, '';
				$sum->add($piece);
				$left -= length $piece;
				$length += length $piece;
			}
			$request->{sum} = $sum->hexdigest;
			$request->{length} = $length;
			$state->{n}++;
			my ($status, $fields, $body) = $code->($request, $state, $sock);
			$body //= '';
			$fields .= "Content-Length: " . length($body) . "\r\n" unless $fields =~ /content-length/i;
			say($sock, "HTTP/1.1 $status\r\n$fields\r\n" . ($method eq 'HEAD' ? '' : $body));
			POSIX::_exit(0) if $fields =~ /connection: close/i;
		}
	});
}

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

# Logs a connection on: type 1, challenge, type 3 with the name of the user. From then on, each request
# over it is this user's, whoever sent it: X-User tells who did.
my $ntlm = web('ntlm', sub {
	my ($request, $state) = @_;
	my ($scheme, $token) = ($request->{field}{authorization} // '') =~ /^(NTLM) (\S+)/;
	if ($scheme) {
		my $message = decode_base64($token);
		my $type = unpack 'V', substr $message, 8, 4;
		if ($type == 1) {
			delete $state->{user};
			my $challenge = "NTLMSSP\0" . pack('V v v V V', 2, 0, 0, 56, 0x00008201) . 'challeng' . ("\0" x 8) .
				pack('v v V', 4, 4, 56) . ("\0" x 8) . pack('v v', 0, 0);
			return ('401 Unauthorized', 'WWW-Authenticate: NTLM ' . encode_base64($challenge, '') . "\r\n", 'more');
		}
		my ($len, undef, $at) = unpack 'v v V', substr $message, 36, 8;
		$state->{user} = substr($message, $at, $len) =~ s/\0//gr;
	}
	return ('401 Unauthorized', "WWW-Authenticate: NTLM\r\n", 'who?') if $request->{path} eq '/in' && !$state->{user};
	my $own = $state->{user} // 'nobody';
	my $claims = $request->{field}{'x-user'} // 'nobody';
	return ('200 OK', '', $own eq $claims ? "well $own\n" : "MIXED $claims over the connection of $own\n");
});

my $nginx_port;
sub nginx {
	my $nginx = (grep { -x } '/usr/sbin/nginx', '/usr/local/sbin/nginx')[0] or return undef;
	my $sock = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 1) or die $!;
	$nginx_port = $sock->sockport;
	close $sock;
	open my $big, '>', "$dir/big" or die $!;
	truncate $big, size();
	close $big;
	open my $small, '>', "$dir/index.html" or die $!;
	print $small "nginx is here\n";
	close $small;
	open my $conf, '>', "$dir/nginx.conf" or die $!;
	print $conf <<CONF;
daemon off; worker_processes 1; pid $dir/nginx.pid; error_log $dir/nginx.log;
events { }
http { access_log off; client_body_temp_path $dir/body; proxy_temp_path $dir/proxy; fastcgi_temp_path $dir/f;
uwsgi_temp_path $dir/u; scgi_temp_path $dir/s; sendfile on; keepalive_requests 100000;
server { listen 127.0.0.1:$nginx_port; root $dir; } }
CONF
	close $conf;
	my $pid = fork // die $!;
	if (!$pid) {
		Steelyard::die_with_parent();
		open STDERR, '>', '/dev/null';
		exec $nginx, '-p', $dir, '-c', "$dir/nginx.conf" or POSIX::_exit(127);
	}
	eval { Steelyard::wait_for('nginx', sub { IO::Socket::INET->new("127.0.0.1:$nginx_port") }) } or return undef;
	return $pid;
}
sub size { Crowd::sanitized() ? 256 << 20 : 1 << 30 }

my $nginx = nginx();
my $conf = <<CONF;
workers 1;
pool two { server s1 127.0.0.1:@{[ $s1->port ]}; server s2 127.0.0.1:@{[ $s2->port ]}; }
pool other { server s2 127.0.0.1:@{[ $s2->port ]}; }
pool ntlm { server ntlm 127.0.0.1:@{[ $ntlm->port ]}; }
pool nobody { server nobody 127.0.0.1:1; }
pool nginx { server nginx 127.0.0.1:@{[ $nginx_port || 1 ]}; }
virtual-service web { listen 127.0.0.1:0; pool two; scheduler round-robin; monitor off; idle-timeout 60s;
	protocol http { header-timeout 700ms; keepalive-timeout 2s;
		rule { path /other/*; pool other; }
		rule { path /secret*; deny on; }
		rule { host go.example.net; redirect https://%host%target; }
	} }
virtual-service ntlm { listen 127.0.0.1:0; pool ntlm; protocol http; monitor off; idle-timeout 60s; }
virtual-service nobody { listen 127.0.0.1:0; pool nobody; protocol http; monitor off; }
virtual-service nginx { listen 127.0.0.1:0; pool nginx; protocol http; monitor off; idle-timeout 60s; }
CONF
my $sy = Steelyard->start($conf);
my %port = map { $_ => $sy->port($_) } qw(web ntlm nobody nginx);

sub curl {
	my $pid = open my $out, '-|';
	die $! unless defined $pid;
	if (!$pid) {
		open STDERR, '>&', \*STDOUT;
		exec 'curl', '-sS', '--max-time', 100, @_ or POSIX::_exit(127);
	}
	local $/;
	my $text = <$out> // '';
	close $out;
	return wantarray ? ($text, $? >> 8) : $text;
}
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

subtest 'bodies' => sub {
	my $body = join '', map { chr rand 256 } 1 .. 300_000;
	open my $file, '>:raw', "$dir/up" or die $!;
	print $file $body;
	close $file;
	my $want = length($body) . ' ' . sha256_hex($body) . "\n";
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
	my $sum = `curl -sS --max-time 200 @{[ url('nginx', '/big') ]} | sha256sum`;
	my ($want) = split ' ', `sha256sum < $dir/big`;
	like($sum, qr/^$want /, 'down: ' . size() . ' bytes');
	is(curl('-H', 'Expect:', '-T', "$dir/big", url('web', '/sum')), size() . " $want\n", 'up: the same');
	my $grown = (Crowd::memory($worker)->{pss_anon} // 0) - $before;
	cmp_ok($grown, '<', 8192, "the worker's memory stays flat ($grown KiB)") unless Crowd::sanitized();
};

kill 'TERM', $nginx if $nginx;
is($sy->stop, 0, 'it ends well');
done_testing;
