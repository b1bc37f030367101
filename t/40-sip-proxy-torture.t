#!/usr/bin/env perl
# protocol sip in mode proxy: what becomes of each of RFC 4475's torture messages, and of ours, those that
# t/20-sip-message.c has for the reader. Each comes by a connection and by a socket of its own, with a good
# request behind it, which must be answered.
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(time);
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Sip qw(request messages);
use Steelyard;
use Way qw(dial say hear);

# What a connection makes of it, what a socket does, and why. The first word:
#	forwarded  a server has it, and its answer has come back
#	dropped    nobody hears of it, and the connection goes on
#	closed     so does nobody, and the connection ends
#	late       more of it must come, and does not: the connection ends after body-timeout
#	NNN        is our answer; on a connection 400 and 513 are the last word: where the next message begins is not known
my $unreadable = 'what cannot be read is not sent on';
my $start = 'whose first line is none has not spoken SIP, and gets no answer';
my $length = 'where it ends is not known';
my $lines = 'others may see other lines';
my $left = 'the server may know it, and judges';
my %verdict = (
	'3.1.1.1 a short tortuous INVITE' => [ qw(forwarded forwarded) ],
	'3.1.1.2 a wide range of characters' => [ qw(forwarded forwarded) ],
	'3.1.1.3 escaped characters in URIs' => [ qw(forwarded forwarded) ],
	'3.1.1.4 escaped nulls in URIs' => [ qw(forwarded forwarded) ],
	'3.1.1.5 percent signs that escape nothing' => [ qw(forwarded forwarded) ],
	'3.1.1.6 no blank between name and <' => [ qw(forwarded forwarded) ],
	'3.1.1.8 extra bytes behind a request' => [ qw(closed forwarded), 'what follows on a connection is a message that the next one cuts off; behind a datagram it is nothing (18.3)' ],
	'3.1.1.9 semicolons in the user part' => [ qw(forwarded forwarded) ],
	'3.1.1.10 unknown transports in Via' => [ qw(forwarded forwarded) ],
	'3.1.1.12 an unusual reason phrase' => [ qw(dropped dropped), 'an answer that nobody asked for' ],
	'3.1.1.13 an empty reason phrase' => [ qw(dropped dropped), 'an answer that nobody asked for' ],
	'3.1.2.1 separators without anything between' => [ qw(400 400), $unreadable ],
	'3.1.2.2 Content-Length larger than the message' => [ qw(late 400), 'a body of which the good request is a part; a datagram has all or nothing' ],
	'3.1.2.3 a negative Content-Length' => [ qw(400 400), $length ],
	'3.1.2.4 numbers that are too large, in a request' => [ qw(400 400), $unreadable ],
	'3.1.2.4 Max-Forwards 300' => [ qw(400 400), $unreadable ],
	'3.1.2.5 numbers that are too large, in a response' => [ qw(closed dropped), 'an answer that cannot be read, and none to an answer' ],
	'3.1.2.6 a quote that is not closed' => [ qw(400 400), $unreadable ],
	'3.1.2.7 <> around the Request-URI' => [ qw(closed dropped), $start ],
	'3.1.2.8 a blank in the Request-URI' => [ qw(closed dropped), $start ],
	'3.1.2.9 blanks between the parts of a request line' => [ qw(closed dropped), $start ],
	'3.1.2.10 blanks at the end of a request line' => [ qw(closed dropped), $start ],
	'3.1.2.11 header fields in the Request-URI: the server\'s to judge' => [ qw(forwarded forwarded), $left ],
	'3.1.2.12 a Date that is not in GMT: the server\'s to judge' => [ qw(forwarded forwarded), $left ],
	'3.1.2.13 a Contact without brackets: the server\'s to judge' => [ qw(forwarded forwarded), $left ],
	'3.1.2.14 blanks within <>' => [ qw(forwarded forwarded), $left ],
	'3.1.2.15 a comma in a name without quotes' => [ qw(forwarded forwarded), $left ],
	'3.1.2.16 an unknown version' => [ qw(closed dropped), $start ],
	'3.1.2.17 CSeq with another method' => [ qw(400 400), $unreadable ],
	'3.1.2.18 the same, unknown method' => [ qw(400 400), $unreadable ],
	'3.1.2.19 a status of ten digits' => [ qw(closed dropped), $start ],
	'3.2.1 a branch without anything behind the cookie' => [ qw(forwarded forwarded), 'it is told from others as RFC 2543 does (17.2.3)' ],
	'3.3.1 fields that are missing' => [ qw(closed dropped), 'without Call-ID, From and To there is no answer' ],
	'3.3.2 a URI of an unknown scheme' => [ qw(forwarded forwarded), $left ],
	'3.3.3 a URI of a known scheme that is not SIP\'s' => [ qw(forwarded forwarded), $left ],
	'3.3.5 Require that nobody knows: the server\'s to judge' => [ qw(forwarded forwarded), $left ],
	'3.3.8 fields twice that may stand once' => [ qw(400 400), $unreadable ],
	'3.3.9 two Content-Length that differ' => [ qw(400 400), $length ],
	'3.3.11 Max-Forwards 0: the server\'s to judge' => [ qw(483 483), 'it goes no further (16.3), and the connection goes on' ],
	'3.3.15 a body that nobody can read' => [ qw(forwarded forwarded), 'a body is for those at the ends' ],
	'3.4.1 a request of RFC 2543' => [ qw(400 forwarded), 'a connection needs Content-Length (18.3), a datagram does not' ],
	'compact names throughout' => [ qw(forwarded forwarded) ],
	'lines that end with LF alone' => [ qw(closed dropped), $lines ],
	'one line that ends with LF alone' => [ qw(closed dropped), $lines ],
	'a CR within a line' => [ qw(closed dropped), $lines ],
	'two Content-Length that agree' => [ qw(forwarded forwarded) ],
	'a Content-Length with a sign' => [ qw(400 400), $length ],
	'a Content-Length in hexadecimal' => [ qw(400 400), $length ],
	'a list in Content-Length' => [ qw(400 400), $length ],
	'an empty Content-Length' => [ qw(400 400), $length ],
	'a Content-Length in a folded line' => [ qw(forwarded forwarded) ],
	'a fold that would hide a second Content-Length' => [ qw(forwarded forwarded) ],
	'a Content-Length beyond 2^32' => [ qw(400 400), $length ],
	'a Content-Length that wraps at 2^64' => [ qw(400 400), $length ],
	'a body of 99999999 bytes' => [ qw(513 400), 'longer than a message may be; a datagram does not have it' ],
	'no Content-Length' => [ qw(400 forwarded), 'a connection needs it (18.3), a datagram does not' ],
	'no Via' => [ qw(closed dropped), 'without Via there is no answer' ],
	'a line without colon' => [ qw(400 400), $unreadable ],
	'a blank within a name' => [ qw(400 400), $unreadable ],
	'a start line that is folded' => [ qw(closed dropped), $start ],
	'HTTP' => [ qw(closed dropped), $start ],
	'a ClientHello' => [ qw(closed dropped), $start ],
	'bytes by chance' => [ qw(closed dropped), $start ],
	'SSH' => [ qw(closed dropped), $start ],
	'a status of two digits' => [ qw(closed dropped), $start ],
	'no blank behind the status' => [ qw(closed dropped), $start ],
	'status 700' => [ qw(closed dropped), $start ],
);

# ---- the messages ----

my $all = do {
	local $/;
	open my $in, '-|', Steelyard::build_dir() . '/t/20-sip-message', 'rows' or die $!;
	<$in>;
};
my @rows;
{
	my @parts = split /\0/, $all, -1;
	while (@parts > 1) {
		my ($name, $text) = splice @parts, 0, 2;
		push @rows, { name => $name, text => $text };
	}
}
is_deeply([ sort map { $_->{name} } @rows ], [ sort keys %verdict ], 'each message has its verdict');

# ---- who answers ----

sub answer {
	my ($head) = split /\r\n\r\n/, $_[0];
	my ($start, @lines) = split /\r\n(?![ \t])/, $head;
	return '' if $start =~ /^(?:ACK|SIP)/;
	my @same = grep { /^(?:via|v|from|f|to|t|call-id|i|cseq)\s*:/i } @lines;
	return join("\r\n", 'SIP/2.0 200 OK', @same, 'Server: torture', 'Content-Length: 0') . "\r\n\r\n";
}
my $server = Steelyard->server('torture', each => sub {
	my $sock = shift;
	my $buffer = '';
	while (sysread $sock, $buffer, 65536, length $buffer) {
		syswrite $sock, answer($_) for messages(\$buffer);
	}
});
my $sy = Steelyard->start(<<"CONF");
pool p { transport tcp; server s 127.0.0.1:@{[ $server->port ]}; }
virtual-service stream { listen 127.0.0.1:0; protocol sip { mode proxy; body-timeout 5s; header-timeout 20s; } pool p; monitor off; }
virtual-service datagram { listen 127.0.0.1:0/udp; protocol sip { mode proxy; } pool p; monitor off; }
CONF
my %port = map { $_ => $sy->port($_) } qw(stream datagram);

# ---- all of them side by side ----

my $select = IO::Select->new;
my (@tries, %of);
for my $i (0 .. $#rows) {
	my $row = $rows[$i];
	for my $way (qw(stream datagram)) {
		my $sock = $way eq 'stream' ? dial($port{stream})
			: IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port{datagram}, Proto => 'udp');
		my $after = request('OPTIONS', id => "after-$i-$way");
		my $try = { row => $row, way => $way, sock => $sock, got => '', after => "after-$i-$way",
			want => $verdict{ $row->{name} }[ $way eq 'stream' ? 0 : 1 ] // '' };
		if ($way eq 'stream') {
			say($sock, $row->{text} . $after);
		} else {
			$sock->send($row->{text});
			$sock->send($after);
		}
		$try->{said} = time;
		push @tries, $of{$sock} = $try;
		$select->add($sock);
	}
}
sub verdict {
	my ($try) = @_;
	my @said = grep { !/^Call-ID: after-/m && !m{^SIP/2\.0 100 } } $try->{got} =~ /(SIP.*?\r\n\r\n)/sg;
	my $first = @said ? $said[0] =~ /^Server: torture/m ? 'forwarded' : ($said[0] =~ m{^SIP/2\.0 (\d+)})[0] : '';
	return $first if @said == 1 && ($first ne 'forwarded' || answered($try));
	return join ' and ', map { m{^SIP/2\.0 (\d+)} } @said if @said > 1;
	return $try->{late} ? 'late' : 'closed' if $try->{ended};
	return answered($try) ? 'dropped' : 'nothing';
}
sub answered { my ($try) = @_; return $try->{got} =~ /^Call-ID: \Q$try->{after}\E\r$/m }
my ($begin, $done) = (time, 0);
while (time < $begin + $Steelyard::LIMIT) {
	for my $sock ($select->can_read(0.1)) {
		my $try = $of{$sock};
		if ($try->{way} eq 'datagram') {
			$sock->recv(my $bytes, 65536);
			$try->{got} .= $bytes // '';
		} elsif (!sysread $sock, $try->{got}, 65536, length $try->{got}) {
			$select->remove($sock);
			$try->{ended} = 1;
			$try->{late} = time > $try->{said} + 4;
		}
	}
	# What shall not come gets a second in which it could.
	$done ||= time if !grep { verdict($_) ne $_->{want} || !($_->{ended} || answered($_)) } @tries;
	last if $done && time > $done + 1;
}
for my $try (@tries) {
	my ($name, $why) = ($try->{row}{name}, $verdict{ $try->{row}{name} }[2] // '');
	is(verdict($try), $try->{want}, "$name, $try->{way}: $try->{want}" . ($why ? " ($why)" : '')) or diag $try->{got};
	ok($try->{want} =~ /^(?:closed|late)$/ || ($try->{way} eq 'stream' && $try->{want} =~ /^(?:400|513)$/)
		? $try->{ended} : answered($try), "$name, $try->{way}: " . ($try->{ended} ? 'the connection ends' : 'and what follows is answered'));
}
my $sock = dial($port{stream});
say($sock, request('OPTIONS', id => 'after-all'));
like(hear($sock, qr/\r\n\r\n/), qr{^SIP/2\.0 200 OK\r\n.*Server: torture}s, 'after all of it a new connection is served');
is($sy->stop, 0, 'it ends well');
done_testing;
