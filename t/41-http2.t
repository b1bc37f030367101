#!/usr/bin/env perl
# HTTP/2 towards clients, HTTP/1.1 towards servers: curl, nginx and h2load as peers, and clients that
# abuse it frame by frame.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Digest::SHA qw(sha256_hex);
use File::Temp qw(tempdir);
use Steelyard;
use Way qw(dial say hear hear_all ending half_close line_of mark);

plan skip_all => 'this curl knows no HTTP/2' unless `curl --version 2>/dev/null` =~ /\bHTTP2\b/;

my $dir = tempdir('steelyard-http2-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $dir;

# HTTP/1.1, one process for each connection.
sub web {
	my ($name) = @_;
	return Steelyard->server($name, on => sub {
		my $sock = shift;
		return if fork;
		my $in = '';
		my $more = sub { sysread($sock, $in, 1 << 20, length $in) or POSIX::_exit(0) };
		while (1) {
			$more->() until $in =~ /\r\n\r\n/;
			$in =~ s/^(.*?\r\n)\r\n//s;
			my $head = $1;
			my ($method, $path) = $head =~ /^(\S+) (\S+)/;
			my $body = '';
			say($sock, "HTTP/1.1 100 Continue\r\n\r\n") if $head =~ /^expect:/mi;
			if ($head =~ /^transfer-encoding: chunked/mi) {
				while (1) {
					$more->() until $in =~ /^[0-9a-f]+\r\n/i;
					$in =~ s/^([0-9a-f]+)\r\n//i;
					my $size = hex $1;
					$more->() while length $in < $size + 2;
					$body .= substr $in, 0, $size, '';
					substr $in, 0, 2, '';
					last unless $size;
				}
			} elsif ($head =~ /^content-length: (\d+)/mi) {
				$more->() while length $in < $1;
				$body = substr $in, 0, $1, '';
			}
			my ($fields, $answer) = ('', "$name $method $path\n");
			$answer = length($body) . ' ' . sha256_hex($body) . "\n" if $path =~ m{^/sum};
			$answer = $head if $path eq '/head';
			if ($path eq '/ntlm') {
				say($sock, "HTTP/1.1 401 No\r\nWWW-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n");
				next;
			}
			if ($path eq '/chunks') {
				say($sock, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n" .
					join('', map { "5\r\nabcde\r\n" } 1 .. 1000) . "0\r\nX-Sum: five thousand\r\n\r\n");
				next;
			}
			if ($path eq '/cut') {
				say($sock, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
				POSIX::_exit(0);
			}
			select undef, undef, undef, 30 if $path eq '/never';
			say($sock, "HTTP/1.1 200 OK\r\nX-Server: $name\r\nContent-Length: " . length($answer) . "\r\n\r\n" .
				($method eq 'HEAD' ? '' : $answer));
		}
	});
}

my ($s1, $s2) = map { web($_) } qw(s1 s2);
my $big = join '', map { chr rand 256 } 1 .. 3_000_000;
open my $file, '>:raw', "$dir/big" or die $!;
print $file $big;
close $file;

my $sy = Steelyard->start(<<CONF);
workers 1;
pool two { server s1 127.0.0.1:@{[ $s1->port ]}; server s2 127.0.0.1:@{[ $s2->port ]}; }
virtual-service web { listen 127.0.0.1:0; pool two; scheduler round-robin; monitor off; idle-timeout 60s;
	protocol http { http2 on; header-timeout 1s; rule { path /deny; deny on; } } }
CONF
my $port = $sy->port('web');

sub curl {
	my $pid = open my $out, '-|';
	die $! unless defined $pid;
	if (!$pid) {
		open STDERR, '>&', \*STDOUT;
		exec 'curl', '-sS', '--http2-prior-knowledge', '--max-time', 100, @_ or POSIX::_exit(127);
	}
	local $/;
	my $text = <$out> // '';
	close $out;
	return wantarray ? ($text, $? >> 8) : $text;
}
sub url { return "http://127.0.0.1:$port$_[0]" }

subtest 'requests' => sub {
	is(curl('-o', '/dev/null', '-w', '%{http_version} %{http_code}', url('/')), '2 200', 'it is HTTP/2');
	like(curl('-H', 'X-Mine: 1', url('/head')),
		qr/^GET \/head HTTP\/1\.1\r\nHost: 127\.0\.0\.1:$port\r\nX-Forwarded-For: 127\.0\.0\.1\r\n.*^x-mine: 1\r\n/ms, 'HTTP/1.1 for the server');
	like(curl('-I', url('/')), qr/^HTTP\/2 200.*^content-length: \d+\r\n\r\n\z/ms, 'HEAD');
	is(curl('-o', '/dev/null', '-w', '%{http_code}', url('/deny')), '403', 'a rule');
	my $chunks = curl('-D', '-', url('/chunks'));
	like($chunks, qr/(?:abcde){1000}/, 'chunks become frames');
	like($chunks, qr/x-sum: five thousand\r?\n/, 'and trailers trailers');
	my ($text, $status) = curl(url('/cut'));
	isnt($status, 0, 'a body that is cut is not taken for whole');
	is(curl('-o', '/dev/null', '-w', '%{http_version} %{http_code}', url('/ntlm')), '1.1 401',
		'NTLM in an answer: the client comes again with HTTP/1.1');
	is(curl('-o', '/dev/null', '-w', '%{http_code}', url('/')), '200', 'the service goes on');
};

subtest 'bodies' => sub {
	my $want = length($big) . ' ' . sha256_hex($big) . "\n";
	is(curl('--data-binary', "\@$dir/big", url('/sum')), $want, 'with a length');
	is(curl('-T', "$dir/big", url('/sum')), $want, 'PUT');
	my $pid = open my $in, '-|', "cat $dir/big | curl -sS --http2-prior-knowledge --max-time 100 -T - " . url('/sum');
	local $/;
	is(scalar(<$in>), $want, 'without a length: it comes in chunks');
};

subtest 'many at once' => sub {
	plan skip_all => 'h2load is not installed' if system('command -v h2load >/dev/null 2>&1');
	my $text = `h2load -n 2000 -c 4 -m 20 @{[ url('/x') ]} 2>&1`;
	like($text, qr/2000 total, 2000 started, 2000 done, 2000 succeeded, 0 failed/, '2000 requests, 20 at once') or diag $text;
	# curl 7.88 cannot use a connection of prior knowledge again, so this is for h2load, too.
	my @before = map { $sy->seat('web', $_)->{total} } qw(s1 s2);
	like(`h2load -n 10 -c 1 -m 1 @{[ url('/y') ]} 2>&1`, qr/10 succeeded/, 'ten over one connection');
	my @after = map { $sy->seat('web', $_)->{total} } qw(s1 s2);
	is($after[$_] - $before[$_], 5, 'half of them to each server') for 0, 1;
};

# ---- frame by frame ----

sub frame { my ($type, $flags, $id, $payload) = @_; return substr(pack('N', length $payload), 1) . pack('CCN', $type, $flags, $id) . $payload }
my $preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" . frame(4, 0, 0, '');
my $get = "\x82\x86\x84\x41\x01a"; # GET http / a

# What comes until the end, as [type, flags, id, payload].
sub frames {
	my $bytes = shift;
	my @list;
	while (length $bytes >= 9) {
		my ($high, $low, $type, $flags, $id) = unpack 'CnCCN', $bytes;
		my $len = $high << 16 | $low;
		last if length $bytes < 9 + $len;
		push @list, [$type, $flags, $id, substr $bytes, 9, $len];
		substr $bytes, 0, 9 + $len, '';
	}
	return @list;
}
# Sends it all, and gives the error of GOAWAY.
sub abuse {
	my ($name, $bytes, $words, $error) = @_;
	mark($sy);
	my $sock = dial($port);
	say($sock, $preface . $bytes);
	my $got = hear_all($sock);
	my ($away) = grep { $_->[0] == 7 } frames($got);
	if (defined $error) {
		ok($away, "$name: GOAWAY") or diag length $got;
		is($away ? unpack('x4 N', $away->[3]) : -1, $error, "$name: its error");
	}
	# Each of its requests has a line of its own, too.
	my $at = $sock->sockport;
	close $sock;
	my ($line) = Steelyard::wait_for('the line of the connection', sub {
		my @found = grep { / client=\S*:$at / && / end=protocol/ } Way::lines_since($sy);
		$found[-1];
	});
	like($line, $words, "$name: the reason");
	is(curl('-o', '/dev/null', '-w', '%{http_code}', url('/')), '200', "$name: the service goes on");
}

subtest 'abuse' => sub {
	abuse('rapid reset', join('', map { frame(1, 5, 2 * $_ - 1, $get) . frame(3, 0, 2 * $_ - 1, pack 'N', 8) } 1 .. 300),
		qr/rapid reset/, 11);
	abuse('CONTINUATION flood', frame(1, 1, 1, $get) . join('', map { frame(9, 0, 1, "\0\x01x\x01y") } 1 .. 100),
		qr/CONTINUATION flood/, 11);
	abuse('a head that is too long', frame(1, 1, 1, $get) . join('', map { frame(9, 0, 1, "\0\x01x\x7f\x81\x7d" . ('y' x 16252)) } 1 .. 10),
		qr/longer than head-limit|CONTINUATION/, 11);
	abuse('SETTINGS flood', join('', map { frame(4, 0, 0, '') } 1 .. 1000), qr/frames that bring nothing/, 11);
	abuse('PING flood', join('', map { frame(6, 0, 0, 'abcdefgh') } 1 .. 1000), qr/frames that bring nothing/, 11);
	abuse('empty frames', frame(1, 4, 1, "\x83\x86\x84\x41\x01a") . join('', map { frame(0, 0, 1, '') } 1 .. 1000),
		qr/frames that bring nothing/, 11);
	abuse('no HTTP/2', frame(0, 0, 0, 'x'), qr/no HTTP\/2|over/);
	abuse('half a frame', substr(frame(1, 5, 1, $get), 0, 12), qr/header-timeout/, 0);
};

subtest 'requests that are none' => sub {
	for (['a line in a value', "\x82\x86\x84\x41\x01a\0\x01x\x04a\r\nb"], ['an upper-case name', "\x82\x86\x84\x41\x01a\0\x01X\x01y"],
		['Connection', "\x82\x86\x84\x41\x01a\0\x0aconnection\x05close"],
		['Transfer-Encoding', "\x82\x86\x84\x41\x01a\0\x11transfer-encoding\x07chunked"], ['two paths', "\x82\x86\x84\x84\x41\x01a"]) {
		my ($name, $fields) = @$_;
		my $sock = dial($port);
		say($sock, $preface . frame(1, 5, 1, $fields) . frame(6, 0, 0, 'abcdefgh'));
		my $got = hear($sock, qr/abcdefgh/);
		my ($reset) = grep { $_->[0] == 3 && $_->[2] == 1 } frames($got);
		ok($reset || $got =~ /<end>/, "$name: the stream is reset");
		close $sock;
	}
	my $sock = dial($port);
	say($sock, $preface . frame(1, 5, 1, $get . "\0\x0dauthorization\x0dNTLM TlRMTVNT"));
	my $got = hear($sock, qr/\x00\x00\x04\x03.{5}\x00\x00\x00\x0d/s);
	ok((grep { $_->[0] == 3 && unpack('N', $_->[3]) == 13 } frames($got)), 'NTLM: back to HTTP/1.1');
};

is($sy->api('GET', '/v1/status') ? 1 : 0, 1, 'it is alive');
is($sy->stop, 0, 'it ends well');
done_testing;
