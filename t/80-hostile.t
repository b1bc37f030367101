#!/usr/bin/env perl
# Peers that mean harm or are broken: resets at every stage, storms of connects and closes, PROXY
# headers of every bad kind. Each end has its reason; nothing leaks; the others are served.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use File::Temp ();
use Steelyard;
use Crowd qw(descriptors memory sanitized wait_for);
use Errno qw(EINPROGRESS);
use IO::Select;
use IO::Socket::INET;
use Socket qw(SOL_SOCKET SO_LINGER inet_aton pack_sockaddr_in);
use Time::HiRes qw(time sleep);

$SIG{PIPE} = 'IGNORE';
my $echo = Crowd::Server->new('s1');
my $flood = Crowd::Server->new('f1', what => 'flood');
my $dead = Crowd::Server->new('d1');
my $dir = File::Temp::tempdir('steelyard-hostile-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $dir;
open my $page, '>', "$dir/page.html" or die $!;
print $page 'x' x 50_000;
close $page;
my $sy = Steelyard->start(<<CONF);
pool echo { server s1 127.0.0.1:@{[ $echo->port ]}; }
pool flood { server f1 127.0.0.1:@{[ $flood->port ]}; }
pool dead { server d1 127.0.0.1:@{[ $dead->port ]}; }
virtual-service echo { listen 127.0.0.1:0; pool echo; monitor off; }
virtual-service flood { listen 127.0.0.1:0; pool flood; monitor off; }
virtual-service dead { listen 127.0.0.1:0; pool dead; monitor off; connect-timeout 1s; tries 1; }
virtual-service proxied { listen 127.0.0.1:0; pool echo; monitor off; accept-proxy-from 127.0.0.0/30; greet-timeout 1s; }
virtual-service page { listen 127.0.0.1:0; pool echo; monitor off; protocol http { rule { path /; answer 200; body $dir/page.html; } } }
CONF
my %port = map { $_ => $sy->port($_) } qw(echo flood dead proxied page);
my @workers = map { $_->{pid} } grep { $_->{role} eq 'worker' } @{ $sy->processes };
my $crowd = Crowd->new("127.0.0.1:$port{echo}", hold => 20, every => 50, rate => 20);
$crowd->wait('the crowd', sub { $_[0]{held} == 20 });

sub client {
	my ($port, $from) = @_;
	return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Timeout => 10, LocalAddr => $from) || die "connect to $port: $@ ($!)";
}
sub cut { my $sock = shift; setsockopt $sock, SOL_SOCKET, SO_LINGER, pack 'll', 1, 0; close $sock }
sub read_some {
	my ($sock, $limit) = @_;
	return 'late' unless IO::Select->new($sock)->can_read($limit // 10);
	my $n = sysread $sock, my $bytes, 1000;
	return defined $n ? $n ? $bytes : 'end' : "reset ($!)";
}
# The line of the connection that came from this port to the service behind PROXY headers: ports come
# again, and the crowd's connections to another service may have the same at the same time.
my $read = 0;
sub mark { $read = -s $sy->{log} }
sub line_of {
	my $me = shift;
	my $line;
	wait_for("the line of port $me", sub {
		open my $in, '<', $sy->{log} or die $!;
		seek $in, $read, 0;
		while (defined(my $one = <$in>)) {
			$line = $one if $one =~ /\n\z/ && index($one, ":$me ") > 0 && index($one, ' service=proxied ') > 0 && $one =~ /(?:via|client)=[0-9.]+:$me /;
		}
		defined $line;
	});
	return $line;
}
# Connections of others than the crowd.
sub others {
	my $n = 0;
	$n += $_->{active} for grep { $_->{name} ne 'echo' } @{ $sy->api('GET', '/v1/status')->{services} };
	my ($echo) = grep { $_->{name} eq 'echo' } @{ $sy->api('GET', '/v1/status')->{services} };
	return $n + ($echo->{active} > 25 ? $echo->{active} - 25 : 0);
}
sub sum { my $n = 0; $n += $_ for @_; return $n }
my $files = sum(map { descriptors($_) } @workers);
my $memory = sum(map { memory($_)->{own} } @workers);
sub unharmed {
	my $what = shift;
	wait_for("$what: all to have ended", sub { others() == 0 });
	my $from = $crowd->report;
	my $r = $crowd->wait('exchanges', sub { $_[0]{exchanges} > $from->{exchanges} + 40 && $_[0]{new_ok} > $from->{new_ok} + 2 });
	is($r->{lost} + $r->{late} + $r->{new_failed}, 0, "$what: the crowd has lost nothing") or diag $r->{words};
	is_deeply([ map { $_->{pid} } grep { $_->{role} eq 'worker' } @{ $sy->processes } ], \@workers, "$what: the same processes");
}

subtest 'resets at every stage' => sub {
	my $n = 150;
	for (1 .. $n) {
		cut(client($port{echo}));                            # connected
		my $sock = client($port{echo});
		syswrite $sock, 'half a line';
		cut($sock);                                          # has said something
		$sock = client($port{echo});
		syswrite $sock, "line\n";
		read_some($sock) if $_ % 2;
		cut($sock);                                          # the answer is on its way, or there
		$sock = client($port{echo});
		shutdown $sock, 1;
		cut($sock);                                          # half-closed
		cut(client($port{flood}));                           # with a lot on its way
		$sock = client($port{flood});
		read_some($sock);
		cut($sock);
		cut(client($port{proxied}, '127.0.0.1'));            # owes a header
		$sock = client($port{proxied}, '127.0.0.1');
		syswrite $sock, 'PROXY TCP4 192.';
		cut($sock);                                          # in the middle of it
		$sock = client($port{proxied}, '127.0.0.1');
		syswrite $sock, "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nline";
		cut($sock);                                          # just behind it
	}
	$dead->freeze;
	my @waiting = map { client($port{dead}) } 1 .. 100;
	cut($_) for @waiting[0 .. 49];                               # while its server is asked
	syswrite $_, 'words' for @waiting[50 .. 99];
	cut($_) for @waiting[50 .. 99];
	unharmed('resets');
	$dead->thaw;
	my %ends;
	$ends{$_}++ for $sy->log_text =~ / end=(\S+)/g;
	diag join ', ', map { "$ends{$_} $_" } sort keys %ends;
	my $known = sum(map { $ends{$_} // 0 } qw(client-reset client-early client-done connect-timeout server-done));
	cmp_ok($ends{'client-reset'} // 0, '>', 3 * $n, 'most are told as what they were: the client reset the connection');
	unlike($sy->log_text, qr/ end=(?:none|protocol-broken|no-memory|server-lost|connect-local)\b/, 'none has a reason that is not true');
	like($sy->log_text, qr/client reset the connection 0\.\d s after the last byte/, 'in words');
};

subtest 'servers that reset at every stage' => sub {
	my $turn = 0;
	my $wild = Steelyard->server('wild', on => sub {
		my $sock = shift;
		my $what = $turn++ % 5;
		if ($what == 1) { sysread $sock, my $bytes, 3 }
		if ($what == 2) { sysread $sock, my $bytes, 100; syswrite $sock, 'half an ans' }
		if ($what == 3) { shutdown $sock, 1 }
		if ($what == 4) { syswrite $sock, 'x' x 200_000; close $sock; return }
		main::cut($sock);
	});
	my ($ok, $text) = $sy->reload(slurp($sy->{file}) =~ s/^control.*\n//mr =~ s/^user.*\n//mr =~ s/^workers.*\n//mr
		. "pool wild { server w1 127.0.0.1:" . $wild->port . "; }\nvirtual-service wild { listen 127.0.0.1:0; pool wild; monitor off; }\n");
	ok($ok, 'a service with a wild server') or diag $text;
	my $port = $sy->port('wild');
	my %got;
	for (1 .. 250) {
		# It may be reset as soon as it is there.
		my $sock = eval { client($port) } or $@ =~ /reset/ ? $got{reset}++ : die;
		next unless $sock;
		syswrite $sock, "hello\n";
		my $got = '';
		while (1) {
			my $some = read_some($sock);
			$got .= $some, last if $some =~ /^(?:end|reset|late)/;
			$got = length $got > 20 ? $got : $got . substr $some, 0, 11;
		}
		$got{ $got =~ /late/ ? 'late' : $got =~ /end$/ ? 'end' : 'reset' }++;
	}
	diag join ', ', map { "$got{$_} $_" } sort keys %got;
	is($got{late} // 0, 0, 'no client is left hanging');
	cmp_ok($got{reset} // 0, '>', 100, 'a reset of the server is a reset for the client');
	unharmed('wild servers');
	like($sy->log_text, qr/server reset the connection .*service=wild.*end=server-reset/, 'and told as what it was');
};

sub slurp {
	open my $in, '<', $_[0] or die $!;
	local $/;
	return <$in>;
}

subtest 'thousands at once' => sub {
	my $to = pack_sockaddr_in($port{echo}, inet_aton('127.0.0.1'));
	my ($made, $failed) = (0, 0);
	my $before = $sy->api('GET', '/v1/services/echo')->{total};
	my $start = time;
	for my $round (1 .. 4) {
		my @storm;
		for (1 .. 1500) {
			my $sock = IO::Socket::INET->new(Proto => 'tcp', Blocking => 0) or last;
			$sock->blocking(0);
			connect($sock, $to) || $! == EINPROGRESS ? $made++ : $failed++;
			push @storm, $sock;
		}
		# Half of them leave in order, half do not; all at once.
		cut($_) for grep { $_ } @storm[0 .. 749];
		@storm = ();
	}
	diag sprintf '%d connects and closes in %.1f s', $made, time - $start;
	is($failed, 0, 'all were begun');
	unharmed('a storm');
	my $service = $sy->api('GET', '/v1/services/echo');
	cmp_ok($service->{total} - $before, '>', 2000, 'they came through: ' . ($service->{total} - $before));
};

sub v2 {
	my ($command, $family, $rest, %opt) = @_;
	my $head = "\r\n\r\n\0\r\nQUIT\n" . chr(0x20 | $command) . chr($family) . pack 'n', $opt{length} // length $rest;
	return $head . $rest;
}
sub crc32c {
	my $crc = 0xffffffff;
	for my $byte (unpack 'C*', $_[0]) {
		$crc ^= $byte;
		$crc = $crc & 1 ? $crc >> 1 ^ 0x82f63b78 : $crc >> 1 for 1 .. 8;
	}
	return $crc ^ 0xffffffff;
}
my $four = inet_aton('192.0.2.7') . inet_aton('192.0.2.1') . pack 'nn', 1234, 443;
my $six = Socket::inet_pton(Socket::AF_INET6(), '2001:db8::7') . Socket::inet_pton(Socket::AF_INET6(), '2001:db8::1') . pack 'nn', 1234, 443;
sub tlv { return pack('Cn', $_[0], length $_[1]) . $_[1] }
my $summed = v2(1, 0x11, $four . tlv(3, "\0" x 4));
substr $summed, -4, 4, pack 'N', crc32c($summed);
my $wrong = v2(1, 0x11, $four . tlv(3, "\1\2\3\4"));

subtest 'good PROXY headers' => sub {
	my @good = (
		[ 'v1, IPv4', "PROXY TCP4 192.0.2.7 192.0.2.1 1234 443\r\n", 'client=192.0.2.7:1234' ],
		[ 'v1, IPv6', "PROXY TCP6 2001:db8::7 2001:db8::1 1234 443\r\n", 'client=[2001:db8::7]:1234' ],
		[ 'v1, unknown', "PROXY UNKNOWN\r\n", 'client=127.0.0.1' ],
		[ 'v1, unknown with words', "PROXY UNKNOWN ffff:f:f:f 1 2 3\r\n", 'client=127.0.0.1' ],
		[ 'v2, IPv4', v2(1, 0x11, $four), 'client=192.0.2.7:1234' ],
		[ 'v2, IPv6', v2(1, 0x21, $six), 'client=[2001:db8::7]:1234' ],
		[ 'v2, IPv4 with TLVs', v2(1, 0x11, $four . tlv(4, 'x' x 900) . tlv(0xee, '')), 'client=192.0.2.7:1234' ],
		[ 'v2, with a checksum', $summed, 'client=192.0.2.7:1234' ],
		[ 'v2, local', v2(0, 0, ''), 'client=127.0.0.1' ],
		[ 'v2, local with rest', v2(0, 0x11, $four . 'rest'), 'client=127.0.0.1' ],
		[ 'v2, unspecified', v2(1, 0, 'whatever'), 'client=127.0.0.1' ],
		[ 'v2, UNIX', v2(1, 0x31, 'x' x 216), 'client=127.0.0.1' ],
		[ 'v2, 4096 bytes', v2(1, 0x11, $four . tlv(4, 'x' x (4096 - 16 - 12 - 3))), 'client=192.0.2.7:1234' ],
	);
	for my $case (@good) {
		my ($name, $bytes, $client) = @$case;
		mark();
		my $sock = client($port{proxied}, '127.0.0.1');
		syswrite $sock, $bytes . "$name\n";
		is(read_some($sock), "s1: $name\n", "$name: served");
		my $me = $sock->sockport;
		close $sock;
		$client .= ":$me" if $client eq 'client=127.0.0.1';
		my $line = line_of($me);
		like($line, qr/\Q$client\E/, "$name: $client");
	}
};

subtest 'hostile PROXY headers' => sub {
	# name, bytes, words in the log, and whether the sender ends its half after them
	my @bad = (
		[ 'none', "GET / HTTP/1.1\r\nHost: x\r\n\r\n", qr/no PROXY header, although the sender is in accept-proxy-from/ ],
		[ 'TLS', "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", qr/no PROXY header/ ],
		[ 'garbage', join('', map { chr(($_ * 37) & 255) } 1 .. 500), qr/no PROXY header/ ],
		[ 'v1, no end', 'PROXY TCP4 ' . '1' x 200, qr/does not end within 107 bytes/ ],
		[ 'v1, LF alone', "PROXY TCP4 192.0.2.7 192.0.2.1 1 2\n", qr/CRLF/ ],
		[ 'v1, CR inside', "PROXY TCP4 192.0.2.7\r192.0.2.1 1 2\r\n", qr/stray CR/ ],
		[ 'v1, NUL', "PROXY TCP4 192.0.2.7\0 192.0.2.1 1 2\r\n", qr/NUL/ ],
		[ 'v1, IPv6 said to be IPv4', "PROXY TCP4 2001:db8::1 192.0.2.1 1 2\r\n", qr/source is no address of its family/ ],
		[ 'v1, IPv4 said to be IPv6', "PROXY TCP6 192.0.2.7 2001:db8::1 1 2\r\n", qr/source is no address of its family/ ],
		[ 'v1, bad destination', "PROXY TCP4 192.0.2.7 192.0.2.999 1 2\r\n", qr/destination is no address/ ],
		[ 'v1, octal', "PROXY TCP4 0300.0.2.7 192.0.2.1 1 2\r\n", qr/source is no address/ ],
		[ 'v1, port over the top', "PROXY TCP4 192.0.2.7 192.0.2.1 65536 2\r\n", qr/source port/ ],
		[ 'v1, negative port', "PROXY TCP4 192.0.2.7 192.0.2.1 1 -2\r\n", qr/destination port/ ],
		[ 'v1, leading zero', "PROXY TCP4 192.0.2.7 192.0.2.1 01 2\r\n", qr/source port/ ],
		[ 'v1, two blanks', "PROXY TCP4  192.0.2.7 192.0.2.1 1 2\r\n", qr/six words/ ],
		[ 'v1, a word too many', "PROXY TCP4 192.0.2.7 192.0.2.1 1 2 3\r\n", qr/six words/ ],
		[ 'v1, a word too few', "PROXY TCP4 192.0.2.7 192.0.2.1 1\r\n", qr/six words/ ],
		[ 'v1, no words', "PROXY \r\n", qr/six words/ ],
		[ 'v1, other family', "PROXY UDP4 192.0.2.7 192.0.2.1 1 2\r\n", qr/none of TCP4, TCP6, UNKNOWN/ ],
		[ 'v1, lower case', "proxy TCP4 192.0.2.7 192.0.2.1 1 2\r\n", qr/no PROXY header/ ],
		[ 'v2, version 1', "\r\n\r\n\0\r\nQUIT\n\x11\x11" . pack('n', 12) . $four, qr/version or command/ ],
		[ 'v2, command 2', v2(2, 0x11, $four), qr/version or command/ ],
		[ 'v2, family 4', v2(1, 0x41, $four), qr/family or transport/ ],
		[ 'v2, transport 3', v2(1, 0x13, $four), qr/family or transport/ ],
		[ 'v2, too short for IPv4', v2(1, 0x11, substr $four, 0, 11), qr/too short for its addresses/ ],
		[ 'v2, too short for IPv6', v2(1, 0x21, $four), qr/too short for its addresses/ ],
		[ 'v2, too short for UNIX', v2(1, 0x31, 'x' x 215), qr/too short for its addresses/ ],
		[ 'v2, too long', v2(1, 0x11, 'x' x 100, length => 65535), qr/longer than 4096/ ],
		[ 'v2, 4097 bytes', v2(1, 0x11, $four . tlv(4, 'x' x (4097 - 16 - 12 - 3))), qr/longer than 4096/ ],
		[ 'v2, wrong checksum', $wrong, qr/checksum is wrong/ ],
		[ 'v2, checksum of 3 bytes', v2(1, 0x11, $four . tlv(3, 'abc')), qr/checksum is not one of 4 bytes/ ],
		[ 'v2, two checksums', v2(1, 0x11, $four . tlv(3, 'abcd') . tlv(3, 'abcd')), qr/checksum/ ],
		[ 'v2, TLV cut off', v2(1, 0x11, $four . "\4\0"), qr/TLV is cut off/ ],
		[ 'v2, TLV too long', v2(1, 0x11, $four . "\4\0\5abcd"), qr/TLV is longer/ ],
		[ 'v2, unique id too long', v2(1, 0x11, $four . tlv(5, 'x' x 129)), qr/unique id/ ],
		[ 'v1, truncated', 'PROXY TCP4 192.0.2', qr/left before a server was chosen|client closed/, 1 ],
		[ 'v2, truncated in the signature', "\r\n\r\n\0", qr/left before a server was chosen/, 1 ],
		[ 'v2, truncated in the addresses', substr(v2(1, 0x11, $four), 0, 20), qr/left before a server was chosen/, 1 ],
		[ 'nothing', '', qr/left before a server was chosen/, 1 ],
		[ 'v1, never completed', 'PROXY TCP4 192.0.2', qr/client said 18 bytes, not enough, within greet-timeout \(1s\)/ ],
		[ 'v2, never completed', substr(v2(1, 0x21, $six), 0, 30), qr/client said 30 bytes, not enough, within greet-timeout/ ],
	);
	for my $case (@bad) {
		my ($name, $bytes, $words, $ends) = @$case;
		# A port whose connection was reset is free at once: one at a time, and only its own lines.
		mark();
		my $sock = client($port{proxied}, '127.0.0.1');
		my $me = $sock->sockport;
		syswrite $sock, $bytes if length $bytes;
		shutdown $sock, 1 if $ends;
		like(read_some($sock), $ends ? qr/^(?:end|reset)/ : qr/^reset/, "$name: refused");
		my $line = line_of($me);
		like($line, $words, "$name: " . ($line =~ /connection (.*?) id=/ ? $1 : $line));
		unlike($line, qr/ server=/, "$name: no server has seen it");
	}
	# Each cut of a good header, then silence or the end: never served, never lost.
	my $n = 0;
	for my $header ("PROXY TCP4 192.0.2.7 192.0.2.1 1234 443\r\n", $summed) {
		for my $cut (0 .. length($header) - 1) {
			my $sock = client($port{proxied}, '127.0.0.1');
			syswrite $sock, substr $header, 0, $cut if $cut;
			shutdown $sock, 1;
			my $got = read_some($sock);
			$n++ if $got !~ /^(?:end|reset)/;
			# And in two parts, it is one.
			$sock = client($port{proxied}, '127.0.0.1');
			syswrite $sock, substr $header, 0, $cut if $cut;
			sleep 0.001;
			syswrite $sock, substr($header, $cut) . "hello\n";
			$n++ if read_some($sock) ne "s1: hello\n";
		}
	}
	is($n, 0, 'cut at each byte: refused; in two parts: served');
	unharmed('hostile headers');
};

subtest 'a header from a network that is not listed' => sub {
	mark();
	my $sock = client($port{proxied}, '127.0.0.9');
	syswrite $sock, "PROXY TCP4 192.0.2.66 192.0.2.1 1234 443\r\nhello\n";
	is(read_some($sock), "s1: PROXY TCP4 192.0.2.66 192.0.2.1 1234 443\r\ns1: hello\n", 'is passed on as what the client said');
	my $me = $sock->sockport;
	close $sock;
	like(line_of($me), qr/client=127\.0\.0\.9:$me /, 'the client is the one that connected');
	unlike($sy->log_text, qr/192\.0\.2\.66/, 'and believed by nobody');
	$sock = client($port{proxied}, '127.0.0.9');
	syswrite $sock, "hello\n";
	is(read_some($sock), "s1: hello\n", 'and none is needed from there');
};

$crowd->stop;
wait_for('all to have ended', sub { $sy->api('GET', '/v1/status')->{active} == 0 });
my $left = sum(map { descriptors($_) } @workers);
cmp_ok($left, '<=', $files, "as many descriptors as before: $left");
SKIP: {
	skip 'built with sanitizers: memory says nothing', 1 if sanitized();
	my $now = sum(map { memory($_)->{own} } @workers);
	cmp_ok($now - $memory, '<', 2048, sprintf 'memory of the workers: %d KiB before, %d KiB after', $memory, $now);
}
my $status = $sy->api('GET', '/v1/services');
is(sum(map { $_->{active}, map { $_->{active} } @{ $_->{servers} } } @{ $status->{services} }), 0, 'no counter has drifted');
# What is asked for is 1,500 times shorter than what is answered.
subtest 'answers of our own that nobody takes' => sub {
	my $own = sub { my $sum = 0; $sum += memory($_)->{own} for @workers; return $sum };
	my $asked = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
	my $before = $own->();
	my @greedy = map { my $sock = client($port{page}); $sock->blocking(0); syswrite $sock, $asked x 5000; $sock } 1 .. 5;
	$sy->api('GET', '/v1/connections') for 1 .. 3;
	SKIP: {
		skip 'built with sanitizers: memory says nothing', 1 if sanitized();
		my $more = $own->() - $before;
		cmp_ok($more, '<', 40_000, "$more KiB more in the workers");
	}
	my ($sock, $bytes) = (client($port{page}), '');
	syswrite $sock, $asked x 200;
	shutdown $sock, 1;
	1 while IO::Select->new($sock)->can_read($Steelyard::LIMIT) && sysread $sock, $bytes, 1 << 20, length $bytes;
	is(() = $bytes =~ m{HTTP/1\.1 200 }g, 200, 'who takes them gets all of them');
};

is($sy->stop, 0, 'it ends well');
done_testing;
