#!/usr/bin/env perl
# PROXY headers, in and out: clients are who the header says, for limits, persistence and logs; where
# a header is owed nothing else is taken; servers get one that is right, before anything else.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Steelyard;
use Way qw(dial say hear hear_all ending half_close exchange line_of mark);

my $v2 = "\r\n\r\n\0\r\nQUIT\n";
sub v2 { my ($from, $fp, $to, $tp) = @_; return "$v2\x21\x11\0\x0c" . Socket::inet_aton($from) . Socket::inet_aton($to) . pack 'nn', $fp, $tp }

my $s1 = Steelyard->server('s1');
my $s2 = Steelyard->server('s2');
# Tells what it got: the first line and the rest, up to a full stop.
my $raw = Steelyard->server('raw', on => sub {
	my $sock = shift;
	return if fork;
	my $got = '';
	while ($got !~ /\.\z/) { sysread($sock, my $bytes, 4096) or last; $got .= $bytes }
	say($sock, unpack('H*', $got) . "\n");
	POSIX::_exit(0);
});
my $nobody = Steelyard::free_port();
my $sy = Steelyard->start(<<CONF);
pool two { server s1 127.0.0.1:@{[ $s1->port ]}; server s2 127.0.0.1:@{[ $s2->port ]}; }
pool raw { server dead 127.0.0.1:$nobody weight=65535; server raw 127.0.0.1:@{[ $raw->port ]} weight=1; }
virtual-service in { listen 127.0.0.1:0; pool two; monitor off; accept-proxy-from 127.0.0.0/30; greet-timeout 1s;
	deny 192.0.2.66; scheduler round-robin; persistence source; }
virtual-service out1 { listen 127.0.0.1:0; pool raw; scheduler priority; monitor off; send-proxy v1; }
virtual-service out2 { listen 127.0.0.1:0; pool raw; scheduler priority; monitor off; send-proxy v2; }
virtual-service both { listen 127.0.0.1:0; pool raw; scheduler priority; monitor off; send-proxy v1; accept-proxy-from 127.0.0.0/8; }
CONF
my %port = map { $_ => $sy->port($_) } qw(in out1 out2 both);

subtest 'in' => sub {
	my $sock = dial($port{in});
	say($sock, "PROXY TCP4 192.0.2.7 203.0.113.10 40000 5061\r\nhello\n");
	like(hear($sock, qr/\n/), qr/^s\d: hello$/, 'version 1, and the first bytes in the same segment');
	half_close($sock);
	hear_all($sock);
	my $line = line_of($sy, $sock);
	is($line->{client}, '192.0.2.7:40000', 'the client is who the header says');
	is($line->{vip}, '203.0.113.10:5061', 'the service is where it says');
	is($line->{via}, '127.0.0.1:' . $sock->sockport, 'and who told us is known');
	my ($same) = map { say($_, v2('192.0.2.8', 40000, '203.0.113.10', 5061) . "x\n"); hear($_, qr/\n/) } dial($port{in});
	is((map { say($_, v2('192.0.2.8', 40000 + $_->sockport % 1000, '203.0.113.10', 5061) . "x\n"); hear($_, qr/\n/) } dial($port{in}))[0], $same, 'version 2; persistence goes by it')
		for 1 .. 5;
	my $header = v2('192.0.2.9', 1, '203.0.113.10', 5061);
	$sock = dial($port{in});
	for my $byte (split //, $header . "y\n") { say($sock, $byte); select undef, undef, undef, 0.002 }
	like(hear($sock, qr/\n/), qr/^s\d: y$/, 'byte by byte');
	$sock = dial($port{in});
	say($sock, "$v2\x20\0\0\0" . "local\n");
	like(hear($sock, qr/\n/), qr/^s\d: local$/, 'LOCAL');
	half_close($sock);
	hear_all($sock);
	is(line_of($sy, $sock)->{client}, '127.0.0.1:' . $sock->sockport, 'then the socket tells');
	like(exchange($port{in}, 'plain', from => '127.0.0.9'), qr/^s\d: plain$/, 'who is not in accept-proxy-from needs none');
	is(exchange($port{in}, "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r", from => '127.0.0.9') =~ /^s\d: PROXY/ ? 1 : 0, 1, 'and is not believed');
};

subtest 'refused' => sub {
	mark($sy);
	my @bad = (
		['no header', "GET / HTTP/1.0\r\n\r\n", 'proxy-header', qr/no PROXY header/],
		['a wrong one', "PROXY TCP4 192.0.2.7 203.0.113.10 70000 1\r\nhello\n", 'proxy-header', qr/source port/],
		['a wrong checksum', "$v2\x21\x11\0\x13" . ('a' x 12) . "\x03\0\x04zzzz", 'proxy-header', qr/checksum is wrong/],
		['a huge one', "$v2\x21\x11\xff\xff", 'proxy-header', qr/4096/],
		['a denied client', "PROXY TCP4 192.0.2.66 203.0.113.10 1 1\r\n", 'denied', qr/deny network/],
	);
	for (@bad) {
		my ($name, $bytes, $end, $words) = @$_;
		my $sock = dial($port{in});
		say($sock, $bytes);
		is(ending($sock), 'reset', $name);
		my $line = line_of($sy, $sock);
		is($line->{end}, $end, "$name: its reason");
		like($line->{words}, $words, "$name: in words");
	}
	my $sock = dial($port{in});
	say($sock, 'PROXY TCP4 192.');
	is(ending($sock), 'reset', 'one that does not come to its end');
	is(line_of($sy, $sock)->{end}, 'greet-timeout', 'its reason');
	$sock = dial($port{in});
	say($sock, 'PROXY TCP4 192.');
	half_close($sock);
	ending($sock);
	is(line_of($sy, $sock)->{end}, 'client-early', 'one that is cut');
};

subtest 'out' => sub {
	for my $version (1, 2) {
		my $sock = dial($port{"out$version"}, from => '127.0.0.5');
		my $want = $version == 1 ? sprintf("PROXY TCP4 127.0.0.5 127.0.0.1 %d %d\r\n", $sock->sockport, $port{out1})
			: v2('127.0.0.5', $sock->sockport, '127.0.0.1', $port{out2});
		say($sock, 'words.');
		is(pack('H*', hear($sock, qr/\n/) =~ s/\n//r), "${want}words.", "version $version, before the first bytes, after a retry");
		$sock = dial($port{"out$version"}, from => '127.0.0.5');
		select undef, undef, undef, 0.2;
		say($sock, 'late.');
		like(pack('H*', hear($sock, qr/\n/) =~ s/\n//r), qr/^(?:PROXY|\r\n).*late\.$/s, 'and when the client is slow');
	}
	my $sock = dial($port{both});
	say($sock, v2('192.0.2.7', 1234, '203.0.113.10', 443) . 'on.');
	is(pack('H*', hear($sock, qr/\n/) =~ s/\n//r), "PROXY TCP4 192.0.2.7 203.0.113.10 1234 443\r\non.", 'what came in goes out');
};

is($sy->stop, 0, 'it ends well');
done_testing;
