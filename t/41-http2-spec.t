#!/usr/bin/env perl
# HTTP/2 by the book (RFC 9113, and RFC 7541 for heads): what a client may say and what it may not, byte by
# byte, and what has to come of it. Where the RFC leaves a choice, each of the choices is right.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use IO::Select;
use Steelyard;
use Time::HiRes qw(time);
use Way qw(dial say hear_all);

# HTTP/1.1: /head answers with the head, /body with the body and the trailers, /never not at all.
my $server = Steelyard->server('s1', each => sub {
	my $sock = shift;
	my $in = '';
	my $more = sub { sysread($sock, $in, 65536, length $in) or POSIX::_exit(0) };
	while (1) {
		$more->() until $in =~ /\r\n\r\n/;
		$in =~ s/^(.*?\r\n)\r\n//s;
		my ($head, $body) = ($1, '');
		my ($method, $path) = $head =~ /^(\S+) (\S+)/;
		if ($head =~ /^transfer-encoding: chunked/mi) {
			while (1) {
				$more->() until $in =~ /^([0-9a-f]+)\r\n/i;
				my $size = hex $1;
				$in =~ s/^.*?\r\n//s;
				last unless $size;
				$more->() while length $in < $size + 2;
				$body .= substr $in, 0, $size;
				substr $in, 0, $size + 2, '';
			}
			$more->() until $in =~ /^\r\n|\r\n\r\n/;
			$in =~ s/^((?:[^\r]+\r\n)*)\r\n//;
			$body .= $1;
		} elsif ($head =~ /^content-length: (\d+)/mi) {
			$more->() while length $in < $1;
			$body = substr $in, 0, $1, '';
		}
		$more->() while $path eq '/never';
		my $answer = $path eq '/head' ? $head : $path eq '/body' ? $body : 'hello';
		say($sock, $path eq '/204' ? "HTTP/1.1 204 No Content\r\n\r\n" :
			"HTTP/1.1 200 OK\r\nContent-Length: " . length($answer) . "\r\n\r\n" . ($method eq 'HEAD' ? '' : $answer));
	}
});
my $sy = Steelyard->start(<<CONF);
workers 1;
pool one { server s1 127.0.0.1:@{[ $server->port ]}; }
virtual-service web { listen 127.0.0.1:0; pool one; monitor off; idle-timeout 60s;
	protocol http { http2 on; http2-streams 5; header-timeout 60s; } }
CONF
my $port = $sy->port('web');

# ---- frames ----

my ($DATA, $HEADERS, $PRIORITY, $RST, $SETTINGS, $PUSH, $PING, $GOAWAY, $WINDOW, $CONTINUATION) = 0 .. 9;
my ($END, $WHOLE, $PADDED, $WEIGHED) = (1, 4, 8, 32); # END_STREAM, END_HEADERS, PADDED, PRIORITY
my @errors = qw(NO_ERROR PROTOCOL_ERROR INTERNAL_ERROR FLOW_CONTROL_ERROR SETTINGS_TIMEOUT STREAM_CLOSED
	FRAME_SIZE_ERROR REFUSED_STREAM CANCEL COMPRESSION_ERROR CONNECT_ERROR ENHANCE_YOUR_CALM
	INADEQUATE_SECURITY HTTP_1_1_REQUIRED);
my %status = (0x88 => 200, 0x89 => 204, 0x8a => 206, 0x8b => 304, 0x8c => 400, 0x8d => 404, 0x8e => 500);

sub frame { my ($type, $flags, $id, $payload) = @_; return substr(pack('N', length $payload), 1) . pack('CCN', $type, $flags, $id) . $payload }
sub settings { my @list = @_; my $bytes = ''; while (my ($id, $value) = splice @list, 0, 2) { $bytes .= pack 'nN', $id, $value } return frame($SETTINGS, 0, 0, $bytes) }
# A literal field, not indexed, not compressed.
sub field { my ($name, $value) = @_; return "\0" . pack('C/a*', $name) . pack('C/a*', $value) }
sub head { my ($method, $path, @fields) = @_; return ($method eq 'GET' ? "\x82" : $method eq 'POST' ? "\x83" : field(':method', $method)) .
	"\x86" . field(':path', $path) . "\x41\x01a" . join '', @fields }
# GET, complete; POST, whose body follows.
sub get { my ($id, $path, @fields) = @_; return frame($HEADERS, $END | $WHOLE, $id, head('GET', $path // '/', @fields)) }
sub post { my ($id, $path, @fields) = @_; return frame($HEADERS, $WHOLE, $id, head('POST', $path // '/body', @fields)) }
sub data { my ($id, $bytes, $flags) = @_; return frame($DATA, $flags // $END, $id, $bytes) }
sub window { my ($id, $n) = @_; return frame($WINDOW, 0, $id, pack 'N', $n) }
sub reset_stream { my ($id, $code) = @_; return frame($RST, 0, $id, pack 'N', $code // 8) }

# What the server says, in words, and the bytes of bodies.
sub words {
	my ($heard) = @_;
	while (length $heard->{in} >= 9) {
		my ($high, $low, $type, $flags, $id) = unpack 'CnCCN', $heard->{in};
		my $len = $high << 16 | $low;
		last if length $heard->{in} < 9 + $len;
		my $payload = substr $heard->{in}, 9, $len;
		substr $heard->{in}, 0, 9 + $len, '';
		my $end = ($type == $DATA || $type == $HEADERS) && $flags & $END ? " end:$id" : '';
		$heard->{body} .= $payload if $type == $DATA;
		my $first = $type == $HEADERS ? ord($payload =~ s/^\x3f[\x80-\xff]*.|^[\x20-\x3e]//rs) : 0;
		$heard->{said} .= ' ' . ($type == $DATA ? "data:$id:$len" : $type == $HEADERS ? "headers:$id:" . ($status{$first} // 'other')
			: $type == $RST ? "reset:$id:" . $errors[unpack 'N', $payload] : $type == $GOAWAY ? 'goaway:' . $errors[unpack 'x4 N', $payload]
			: $type == $SETTINGS ? ($flags & 1 ? 'settings-ack' : 'settings') : $type == $PING ? ($flags & 1 ? "ping-ack:$payload" : 'ping')
			: $type == $WINDOW ? "window:$id" : "frame:$type") . $end;
		$heard->{credit}{$id} += unpack 'N', $payload if $type == $WINDOW;
	}
}
# Until it matches (a number: until stream 1 may send so many bytes more than at first), or all is over.
sub hear_words {
	my ($sock, $heard, $wanted) = @_;
	my $end = time + $Steelyard::LIMIT;
	my $is = sub { return ref $wanted eq 'SCALAR' ? ($heard->{credit}{1} // 0) >= $$wanted : $heard->{said} =~ $wanted };
	while (!$is->() && $heard->{said} !~ /closed$/) {
		my $n = time < $end && IO::Select->new($sock)->can_read($end - time) ? sysread($sock, $heard->{in}, 65536, length $heard->{in}) : -1;
		words($heard);
		$heard->{said} .= ' closed' if !$n;
		$heard->{said} .= ' late closed' if $n && $n < 0;
	}
	return $is->();
}

# ---- what may come of it ----

sub connection_error { my $names = join '|', @_; return qr/goaway:(?:$names)(?: .*)? closed$/ }
# A stream error; the connection's is right as well, if not as kind.
sub stream_error { my ($id, @names) = @_; my $names = join '|', @names; return qr/reset:$id:(?:$names)\b.* ping-ack:barrier!|ping-ack:barrier!.* reset:$id:(?:$names)\b|goaway:(?:$names)(?: .*)? closed$/ }
# A request that is none: reset, or refused in words.
sub malformed { my $id = shift // 1; my $reset = stream_error($id, 'PROTOCOL_ERROR'); return qr/$reset|headers:$id:400/ }
sub answered { my $id = shift // 1; return qr/(?=.* headers:$id:20\d.* end:$id\b)(?=.* ping-ack:barrier!)/ }
my $ignored = qr/ping-ack:barrier!/;
my $go_on = qr/(?!.*(?:reset|goaway|closed))/;

my @cases = (
	# section, what the client does, its bytes after preface and SETTINGS (or bytes and patterns to wait for),
	# what comes; body => what the answers' bodies say, not => what must not come, raw => no preface before it
	['3.4', 'SETTINGS come first', '', qr/^ settings /],
	['3.4', 'the preface is not followed by SETTINGS', "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" . frame($PING, 0, 0, 'abcdefgh'), connection_error('PROTOCOL_ERROR'), raw => 1],
	['3.4', 'byte by byte', join('', "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", settings(), get(1)), answered(), raw => 1, slow => 1],
	['3.4', 'a second preface', "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", qr/goaway:(?:FRAME_SIZE|PROTOCOL)_ERROR.* closed$/],

	['4.1', 'a frame of unknown type', frame(0x20, 0, 0, 'what?') . get(1), answered()],
	['4.1', 'a frame of unknown type on a stream that is not open', frame(0x21, 0xff, 7, 'what?') . get(1), answered()],
	['4.1', 'flags that mean nothing', frame($PING, 0xfe, 0, 'abcdefgh'), qr/ping-ack:abcdefgh/],
	['4.1', 'the reserved bit of a stream', frame($PING, 0, 0x80000000, 'abcdefgh') . frame($HEADERS, $END | $WHOLE, 0x80000001, head('GET', '/')), answered()],

	['4.2', 'DATA of 16384 bytes', post(1) . data(1, 'x' x 16384), answered(), body => qr/^x{16384}$/],
	['4.2', 'DATA of 16385 bytes', post(1) . data(1, 'x' x 16385), stream_error(1, 'FRAME_SIZE_ERROR')],
	['4.2', 'HEADERS of 16385 bytes', frame($HEADERS, $END | $WHOLE, 1, head('GET', '/') . "\0\x01x\x7f" . 'y' x 16373), connection_error('FRAME_SIZE_ERROR')],
	['4.2', 'an unknown frame of 16385 bytes', frame(0x20, 0, 0, 'x' x 16385), connection_error('FRAME_SIZE_ERROR')],

	['4.3', 'index 0', frame($HEADERS, $END | $WHOLE, 1, "\x82\x86\x84\x80"), connection_error('COMPRESSION_ERROR')],
	['4.3', 'an index beyond the table', frame($HEADERS, $END | $WHOLE, 1, "\x82\x86\x84\xff\x20"), connection_error('COMPRESSION_ERROR')],
	['4.3', 'a number without end', frame($HEADERS, $END | $WHOLE, 1, "\x82\x86\x84\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), connection_error('COMPRESSION_ERROR')],
	['4.3', 'a text that is longer than the block', frame($HEADERS, $END | $WHOLE, 1, "\x82\x86\x84\0\x01x\x0ay"), connection_error('COMPRESSION_ERROR')],
	['4.3', 'Huffman with wrong padding', frame($HEADERS, $END | $WHOLE, 1, head('GET', '/', "\0\x01x\x81\x00")), connection_error('COMPRESSION_ERROR')],
	['4.3', 'Huffman with too much padding', frame($HEADERS, $END | $WHOLE, 1, head('GET', '/', "\0\x01x\x82\x1f\xff")), connection_error('COMPRESSION_ERROR')],
	['4.3', 'Huffman with EOS', frame($HEADERS, $END | $WHOLE, 1, head('GET', '/', "\0\x01x\x84\xff\xff\xff\xff")), connection_error('COMPRESSION_ERROR')],
	['4.3', 'a table larger than allowed', frame($HEADERS, $END | $WHOLE, 1, "\x3f\xe2\x1f" . head('GET', '/')), connection_error('COMPRESSION_ERROR')],
	['4.3', 'a change of the table behind fields', frame($HEADERS, $END | $WHOLE, 1, head('GET', '/') . "\x20"), connection_error('COMPRESSION_ERROR')],
	['4.3', 'a smaller table', frame($HEADERS, $END | $WHOLE, 1, "\x20" . head('GET', '/')), answered()],
	['4.3', 'a field of the table', frame($HEADERS, $END | $WHOLE, 1, "\x82\x86" . field(':path', '/head') . "\x41\x01a\x40\x06x-mine\x04gold") .
		frame($HEADERS, $END | $WHOLE, 3, "\x82\x86" . field(':path', '/head') . "\xbf\xbe"), answered(3), body => qr/x-mine: gold.*x-mine: gold/s],
	['4.3', 'a field that left the table', frame($HEADERS, $END | $WHOLE, 1, head('GET', '/', "\x40\x06x-mine\x04gold")) .
		frame($HEADERS, $END | $WHOLE, 3, "\x20\x82\x86\x84\xbe"), connection_error('COMPRESSION_ERROR')],
	['4.3', 'a Huffman-coded name', frame($HEADERS, $END | $WHOLE, 1, "\x82\x86" . field(':path', '/head') . "\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"), answered(), body => qr/^Host: www\.example\.com\r\n/m],

	['5.1', 'idle: DATA', data(1, 'x'), connection_error(qw(PROTOCOL_ERROR STREAM_CLOSED))],
	['5.1', 'idle: RST_STREAM', reset_stream(1), connection_error('PROTOCOL_ERROR')],
	['5.1', 'idle: WINDOW_UPDATE', window(1, 100), connection_error('PROTOCOL_ERROR')],
	['5.1', 'idle: CONTINUATION', frame($CONTINUATION, $WHOLE, 1, head('GET', '/')), connection_error('PROTOCOL_ERROR')],
	['5.1', 'idle: PRIORITY', frame($PRIORITY, 0, 1, pack 'NC', 0, 10), $ignored, not => qr/goaway|reset/],
	['5.1', 'half-closed: DATA', get(1, '/never') . data(1, 'x'), stream_error(1, 'STREAM_CLOSED')],
	['5.1', 'half-closed: HEADERS', get(1, '/never') . get(1, '/never'), stream_error(1, 'STREAM_CLOSED')],
	['5.1', 'half-closed: CONTINUATION', get(1, '/never') . frame($CONTINUATION, $WHOLE, 1, field('x', 'y')), connection_error(qw(STREAM_CLOSED PROTOCOL_ERROR))],
	['5.1', 'half-closed: WINDOW_UPDATE and PRIORITY', get(1, '/never') . window(1, 100) . frame($PRIORITY, 0, 1, pack 'NC', 0, 10), $ignored, not => qr/goaway|reset/],
	['5.1', 'half-closed: RST_STREAM', get(1, '/never') . reset_stream(1) . get(3), answered(3), not => qr/goaway/],
	['5.1', 'reset: DATA', post(1) . reset_stream(1) . data(1, 'x') . get(3), qr/(?:reset:1|goaway):STREAM_CLOSED|headers:3:200/, not => qr/headers:1/],
	['5.1', 'reset: HEADERS', post(1) . reset_stream(1) . get(1), stream_error(1, 'STREAM_CLOSED')],
	['5.1', 'answered: DATA', [get(1), qr/end:1/, data(1, 'x')], qr/(?:reset:1|goaway):STREAM_CLOSED|ping-ack:barrier/, not => qr/end:1.*headers:1/],
	['5.1', 'answered: HEADERS', [get(1), qr/end:1/, get(1)], connection_error('STREAM_CLOSED')],
	['5.1', 'answered: WINDOW_UPDATE, RST_STREAM and PRIORITY', [get(1), qr/end:1/, window(1, 10) . reset_stream(1) . frame($PRIORITY, 0, 1, pack 'NC', 0, 10)], $ignored, not => qr/goaway|reset/],
	['5.1', 'answered: WINDOW_UPDATE on a later one is still for idle', [get(3), qr/end:3/, window(5, 10)], connection_error('PROTOCOL_ERROR')],

	['5.1.1', 'an even number', get(2), connection_error('PROTOCOL_ERROR')],
	['5.1.1', 'a number below the last', get(5) . get(3), connection_error(qw(PROTOCOL_ERROR STREAM_CLOSED))],
	['5.1.1', 'numbers that were left out', get(11) . get(1001), answered(1001)],
	['5.1.1', 'the last number', get(0x7fffffff), answered(0x7fffffff)],
	['5.1.2', 'more streams than allowed', join('', map { get(2 * $_ - 1, '/never') } 1 .. 6), stream_error(11, qw(PROTOCOL_ERROR REFUSED_STREAM))],
	['5.1.2', 'as many as allowed', join('', map { get(2 * $_ - 1, '/never') } 1 .. 5), $ignored, not => qr/goaway|reset/],
	['5.1.2', 'again, when some are over', [map({ get(2 * $_ - 1) } 1 .. 5), map({ qr/end:$_\b/ } 1, 3, 5, 7, 9), map { get(2 * $_ - 1) } 6 .. 10], answered(19), not => qr/goaway|reset/],
	['5.3', 'HEADERS with a priority', frame($HEADERS, $END | $WHOLE | $WEIGHED, 1, pack('NC', 0x80000000, 255) . head('GET', '/')), answered()],
	['5.3', 'HEADERS with a priority that is cut', frame($HEADERS, $END | $WHOLE | $WEIGHED, 1, 'abc'), qr/(?:goaway|reset:1):(?:FRAME_SIZE|PROTOCOL)_ERROR/],

	['6.1', 'DATA on stream 0', data(0, 'x'), connection_error('PROTOCOL_ERROR')],
	['6.1', 'DATA with padding', post(1) . frame($DATA, $END | $PADDED, 1, "\x04body\0\0\0\0"), answered(), body => qr/^body$/],
	['6.1', 'DATA that is padding', post(1) . frame($DATA, $PADDED, 1, "\x03\0\0\0") . data(1, 'body'), answered(), body => qr/^body$/],
	['6.1', 'DATA with more padding than there is', post(1) . frame($DATA, $END | $PADDED, 1, "\x09body"), connection_error('PROTOCOL_ERROR')],
	['6.1', 'DATA, padded, without a length', post(1) . frame($DATA, $END | $PADDED, 1, ''), connection_error(qw(PROTOCOL_ERROR FRAME_SIZE_ERROR))],
	['6.1', 'DATA without bytes at the end', post(1) . data(1, 'body', 0) . data(1, ''), answered(), body => qr/^body$/],
	['6.2', 'HEADERS on stream 0', get(0), connection_error('PROTOCOL_ERROR')],
	['6.2', 'HEADERS with padding and priority', frame($HEADERS, $END | $WHOLE | $PADDED | $WEIGHED, 1, "\x02" . pack('NC', 0, 5) . head('GET', '/') . "\0\0"), answered()],
	['6.2', 'HEADERS with more padding than there is', frame($HEADERS, $END | $WHOLE | $PADDED, 1, "\xff" . head('GET', '/')), connection_error('PROTOCOL_ERROR')],
	['6.2', 'HEADERS, not whole, and HEADERS of another stream', frame($HEADERS, $END, 1, head('GET', '/')) . get(3), connection_error('PROTOCOL_ERROR')],
	['6.3', 'PRIORITY on stream 0', frame($PRIORITY, 0, 0, pack 'NC', 0, 10), connection_error('PROTOCOL_ERROR')],
	['6.3', 'PRIORITY of 4 bytes', frame($PRIORITY, 0, 1, 'abcd'), stream_error(1, 'FRAME_SIZE_ERROR')],
	['6.4', 'RST_STREAM on stream 0', reset_stream(0), connection_error('PROTOCOL_ERROR')],
	['6.4', 'RST_STREAM of 3 bytes', post(1) . frame($RST, 0, 1, 'abc'), connection_error('FRAME_SIZE_ERROR')],
	['6.4', 'RST_STREAM with an unknown code', get(1, '/never') . reset_stream(1, 0xffffffff) . get(3), answered(3), not => qr/goaway/],
	['6.5', 'SETTINGS on a stream', frame($SETTINGS, 0, 1, ''), connection_error('PROTOCOL_ERROR')],
	['6.5', 'SETTINGS of 5 bytes', frame($SETTINGS, 0, 0, 'abcde'), connection_error('FRAME_SIZE_ERROR')],
	['6.5', 'an acknowledgement that says something', frame($SETTINGS, 1, 0, 'abcdef'), connection_error('FRAME_SIZE_ERROR')],
	['6.5', 'each SETTINGS is acknowledged', settings(4 => 70000) . settings(), qr/settings-ack.* settings-ack.* settings-ack/],
	['6.5.2', 'ENABLE_PUSH 2', settings(2 => 2), connection_error('PROTOCOL_ERROR')],
	['6.5.2', 'INITIAL_WINDOW_SIZE 2^31', settings(4 => 0x80000000), connection_error('FLOW_CONTROL_ERROR')],
	['6.5.2', 'MAX_FRAME_SIZE 16383', settings(5 => 16383), connection_error('PROTOCOL_ERROR')],
	['6.5.2', 'MAX_FRAME_SIZE 2^24', settings(5 => 1 << 24), connection_error('PROTOCOL_ERROR')],
	['6.5.2', 'an unknown setting', settings(0xabcd => 5) . get(1), answered()],
	['6.5.2', 'the last of two values counts', settings(4 => 1, 4 => 65535) . get(1), qr/data:1:5 end:1/],
	['6.5.2', 'no table for our heads', settings(1 => 0) . get(1) . get(3), answered(3)],
	['6.6', 'PUSH_PROMISE of a client', post(1) . frame($PUSH, $WHOLE, 1, pack('N', 2) . head('GET', '/')), connection_error('PROTOCOL_ERROR')],
	['6.7', 'PING', frame($PING, 0, 0, "\0\1\2\3\4\5\6\7"), qr/ping-ack:\x00\x01\x02\x03\x04\x05\x06\x07/],
	['6.7', 'an acknowledgement of nothing', frame($PING, 1, 0, 'abcdefgh'), $ignored, not => qr/ping-ack:abcdefgh/],
	['6.7', 'PING on a stream', frame($PING, 0, 1, 'abcdefgh'), connection_error('PROTOCOL_ERROR')],
	['6.7', 'PING of 7 bytes', frame($PING, 0, 0, 'abcdefg'), connection_error('FRAME_SIZE_ERROR')],
	['6.8', 'GOAWAY on a stream', frame($GOAWAY, 0, 1, pack 'NN', 0, 0), connection_error('PROTOCOL_ERROR')],
	['6.8', 'GOAWAY of 7 bytes', frame($GOAWAY, 0, 0, 'abcdefg'), connection_error('FRAME_SIZE_ERROR')],
	['6.8', 'GOAWAY with words; what is under way is answered', get(1) . frame($GOAWAY, 0, 0, pack('NN', 0, 0) . 'bye'), qr/headers:1:200.* end:1/],
	['6.9', 'WINDOW_UPDATE of 3 bytes', frame($WINDOW, 0, 0, 'abc'), connection_error('FRAME_SIZE_ERROR')],
	['6.9', 'WINDOW_UPDATE by 0', window(0, 0), connection_error('PROTOCOL_ERROR')],
	['6.9', 'WINDOW_UPDATE by 0 on a stream', post(1) . window(1, 0), stream_error(1, 'PROTOCOL_ERROR')],
	['6.9.1', 'a window beyond 2^31-1', window(0, 0x7fffffff), connection_error('FLOW_CONTROL_ERROR')],
	['6.9.1', 'a stream\'s window beyond 2^31-1', post(1) . window(1, 0x7fffffff), stream_error(1, 'FLOW_CONTROL_ERROR')],
	['6.9.1', 'a window of 1 is kept', [settings(4 => 1) . get(1), qr/data:1:1\b/, frame($PING, 0, 0, 'now more') , qr/now more/, window(1, 2)],
		qr/data:1:1 (?!.*data:1.*now more).*ping-ack:now more.* data:1:2\b/, not => qr/end:1/],
	['6.9.1', 'the window that is left is used', [settings(4 => 1) . get(1), qr/data:1:1\b/, window(1, 100)], qr/data:1:1 .*data:1:4 end:1/],
	['6.9.2', 'windows follow SETTINGS', [settings(4 => 0) . get(1), qr/headers:1:200/, settings(4 => 5)], qr/headers:1:200.* data:1:5 end:1/],
	['6.9.2', 'a window may be below 0', [settings(4 => 3) . get(1), qr/data:1:3/, settings(4 => 0) . window(1, 4)], qr/data:1:3 .*data:1:1\b/, not => qr/end:1/],
	['6.9.2', 'SETTINGS that make a window too large', get(1, '/never') . window(1, 0x7fffffff - 65535) . settings(4 => 65536), stream_error(1, 'FLOW_CONTROL_ERROR')], # libnghttp2 resets the stream
	['6.9.2', 'the connection\'s window does not follow SETTINGS', settings(4 => 0) . get(1) . window(1, 3) . frame($PING, 0, 0, 'abcdefgh'), qr/data:1:3\b/, not => qr/end:1/],
	['6.9', 'bodies of requests are credited', [settings(4 => 1 << 20) . window(0, 1 << 20) . post(1), map({ my $n = $_; (map({ data(1, 'x' x 16000, 0) } 1 .. 2), \($n * 32000 - 33500)) } 1 .. 8), data(1, '')],
		answered(), body => qr/^(?:x{1000}){256}$/], # of the 65535 up to a half may be credited later
	['6.10', 'CONTINUATION', frame($HEADERS, $END, 1, head('GET', '/head')) . frame($CONTINUATION, 0, 1, field('x-one', '1')) . frame($CONTINUATION, $WHOLE, 1, field('x-two', '2')),
		answered(), body => qr/x-one: 1\r\nx-two: 2/],
	['6.10', 'a field that is cut in two', frame($HEADERS, $END, 1, head('GET', '/head') . "\0\x05x-") . frame($CONTINUATION, $WHOLE, 1, "one\x011"), answered(), body => qr/x-one: 1/],
	['6.10', 'HEADERS without a byte, and CONTINUATION', frame($HEADERS, $END, 1, '') . frame($CONTINUATION, $WHOLE, 1, head('GET', '/')), answered()],
	['6.10', 'CONTINUATION of another stream', frame($HEADERS, $END, 1, head('GET', '/')) . frame($CONTINUATION, $WHOLE, 3, field('x', 'y')), connection_error('PROTOCOL_ERROR')],
	['6.10', 'CONTINUATION on stream 0', frame($CONTINUATION, $WHOLE, 0, field('x', 'y')), connection_error('PROTOCOL_ERROR')],
	['6.10', 'CONTINUATION behind a whole head', post(1) . frame($CONTINUATION, $WHOLE, 1, field('x', 'y')), connection_error('PROTOCOL_ERROR')],
	['6.10', 'DATA before CONTINUATION', frame($HEADERS, 0, 1, head('POST', '/')) . data(1, 'x'), connection_error('PROTOCOL_ERROR')],
	['6.10', 'PING before CONTINUATION', frame($HEADERS, 0, 1, head('POST', '/')) . frame($PING, 0, 0, 'abcdefgh'), connection_error('PROTOCOL_ERROR')],
	['6.10', 'an unknown frame before CONTINUATION', frame($HEADERS, 0, 1, head('POST', '/')) . frame(0x20, 0, 0, 'x'), connection_error('PROTOCOL_ERROR')],

	['8.1', 'trailers', post(1) . data(1, 'body', 0) . frame($HEADERS, $END | $WHOLE, 1, field('x-sum', '4')), answered(), body => qr/^bodyx-sum: 4\r\n$/],
	['8.1', 'trailers without a body', post(1) . frame($HEADERS, $END | $WHOLE, 1, field('x-sum', '4')), answered(), body => qr/^x-sum: 4\r\n$/],
	['8.1', 'trailers behind a body of known length are not those of the answer', post(1, '/body', field('content-length', 4)) . data(1, 'body', 0) . frame($HEADERS, $END | $WHOLE, 1, field('x-sum', '4')),
		answered(), body => qr/^body$/, not => qr/headers:1:other/],
	['8.1', 'trailers that are not the end', post(1) . data(1, 'body', 0) . frame($HEADERS, $WHOLE, 1, field('x-sum', '4')), malformed()],
	['8.1', 'trailers with a pseudo-header', post(1) . data(1, 'body', 0) . frame($HEADERS, $END | $WHOLE, 1, "\x82" . field('x-sum', '4')), malformed()],
	['8.1.1', 'a body longer than its Content-Length', post(1, '/body', field('content-length', '3')) . data(1, 'body'), malformed()],
	['8.1.1', 'a body shorter than its Content-Length', post(1, '/body', field('content-length', '5')) . data(1, 'body'), malformed()],
	['8.1.1', 'a Content-Length, and no body', get(1, '/', field('content-length', '5')), malformed()],
	['8.1.1', 'two lengths', post(1, '/body', field('content-length', '4'), field('content-length', '5')) . data(1, 'body'), malformed()],
	['8.1.1', 'a length that is no number', post(1, '/body', field('content-length', '4x')) . data(1, 'body'), malformed()],
	['8.1.1', 'a length that is right', post(1, '/body', field('content-length', '4')) . data(1, 'body'), answered(), body => qr/^body$/],
	['8.1.1', 'HEAD', frame($HEADERS, $END | $WHOLE, 1, head('HEAD', '/')), qr/headers:1:200 end:1/, not => qr/data:1/],
	['8.1.1', 'an answer without a body', get(1, '/204'), qr/headers:1:204 end:1/, not => qr/data:1/],
	['8.2.1', 'a name in capitals', get(1, '/', field('X-Mine', 'y')), malformed()],
	['8.2.1', 'a name with a blank', get(1, '/', field('x mine', 'y')), malformed()],
	['8.2.1', 'a name with a colon', get(1, '/', field('x:mine', 'y')), malformed()],
	['8.2.1', 'an empty name', get(1, '/', field('', 'y')), malformed()],
	['8.2.1', 'a line feed in a value', get(1, '/', field('x', "a\nb: c")), malformed()],
	['8.2.1', 'a carriage return in a value', get(1, '/', field('x', "a\rb")), malformed()],
	['8.2.1', 'a NUL in a value', get(1, '/', field('x', "a\0b")), malformed()],
	['8.2.1', 'blanks around a value', get(1, '/', field('x', ' y ')), malformed()],
	['8.2.1', 'an empty value', get(1, '/head', field('x-mine', '')), answered(), body => qr/x-mine: ?\r\n/],
	(map { ['8.2.2', "$_->[0]: $_->[1]", get(1, '/', field(@$_)), malformed()] } ['connection', 'close'], ['keep-alive', 'timeout=5'], ['proxy-connection', 'close'],
		['transfer-encoding', 'chunked'], ['upgrade', 'h2c'], ['te', 'gzip'], ['te', 'trailers, gzip']),
	['8.2.2', 'te: trailers', get(1, '/head', field('te', 'trailers')), answered(), body => qr/^TE: trailers\r\n/mi],
	['8.2.3', 'cookies in pieces', get(1, '/head', field('cookie', 'a=1'), field('x', 'y'), field('cookie', 'b=2')), answered(), body => qr/^Cookie: a=1; b=2\r\n/m],
	['8.3', 'a pseudo-header behind fields', frame($HEADERS, $END | $WHOLE, 1, "\x82\x86" . field('x', 'y') . "\x84\x41\x01a"), malformed()],
	['8.3', 'an unknown pseudo-header', get(1, '/', field(':mine', 'y')), malformed()],
	['8.3', 'one of answers', frame($HEADERS, $END | $WHOLE, 1, "\x82\x86\x84\x88\x41\x01a"), malformed()],
	['8.3.1', 'without :method', frame($HEADERS, $END | $WHOLE, 1, "\x86\x84\x41\x01a"), malformed()],
	['8.3.1', 'without :scheme', frame($HEADERS, $END | $WHOLE, 1, "\x82\x84\x41\x01a"), malformed()],
	['8.3.1', 'without :path', frame($HEADERS, $END | $WHOLE, 1, "\x82\x86\x41\x01a"), malformed()],
	['8.3.1', 'an empty :path', frame($HEADERS, $END | $WHOLE, 1, "\x82\x86" . field(':path', '') . "\x41\x01a"), malformed()],
	['8.3.1', 'a :path that is none', get(1, 'nowhere'), malformed()],
	['8.3.1', 'a :path with a blank', get(1, '/a b'), malformed()],
	(map { ['8.3.1', "two $_->[0]", frame($HEADERS, $END | $WHOLE, 1, "\x82\x86\x84$_->[1]\x41\x01a"), malformed()] } [':method', "\x83"], [':scheme', "\x87"], [':path', "\x85"], [':authority', "\x41\x01b"]),
	['8.3.1', 'neither :authority nor Host', frame($HEADERS, $END | $WHOLE, 1, "\x82\x86\x84"), malformed()],
	['8.3.1', 'Host instead of :authority', frame($HEADERS, $END | $WHOLE, 1, "\x82\x86" . field(':path', '/head') . field('host', 'b')), answered(), body => qr/^Host: b\r\n/m],
	['8.3.1', 'Host that is the :authority', get(1, '/head', field('host', 'A')), answered(), body => qr/\A(?!.*^host:.*^host:).*^Host: a\r\n/msi],
	['8.3.1', 'Host that is another than :authority', get(1, '/head', field('host', 'b')), malformed()],
	['8.3.1', 'two Host', get(1, '/head', field('host', 'a'), field('host', 'a')), malformed()],
	['8.3.1', 'a name and a password in :authority', frame($HEADERS, $END | $WHOLE, 1, "\x82\x86\x84\x41\x03u\@a"), malformed()],
	['8.3.1', 'OPTIONS *', frame($HEADERS, $END | $WHOLE, 1, head('OPTIONS', '*')), answered()],
	['8.3.1', 'GET *', get(1, '*'), malformed()],
	['8.5', 'CONNECT with a path', frame($HEADERS, $END | $WHOLE, 1, head('CONNECT', '/')), malformed()],
	['8.5', 'CONNECT', frame($HEADERS, $WHOLE, 1, field(':method', 'CONNECT') . "\x41\x04a:25"), qr/headers:1:(?:400|other)|reset:1/],
	['8.7', 'an answer before the request is complete', get(1, '/never') . post(3, '/body') . get(5), answered(5), not => qr/goaway|reset/],
);

my $preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" . settings();
my $barrier = frame($PING, 0, 0, 'barrier!');
for my $case (@cases) {
	my ($section, $name, $send, $want, %more) = @$case;
	my $sock = dial($port);
	my $heard = { in => '', said => '', body => '' };
	my @steps = ref $send ? @$send : $send;
	$steps[0] = $preface . ($steps[0] // '') unless $more{raw};
	for my $step (@steps, $barrier) {
		if (ref $step) { hear_words($sock, $heard, $step) or last }
		elsif ($more{slow}) { say($sock, $_) for split //, $step }
		else { say($sock, $step) }
	}
	# What must not come would have come before the answer to the barrier, or with what is waited for.
	hear_words($sock, $heard, qr/ping-ack:barrier!/);
	my $is = hear_words($sock, $heard, $want);
	my $right = $is && $heard->{said} !~ /late/ && (!$more{not} || $heard->{said} !~ $more{not}) && (!$more{body} || $heard->{body} =~ $more{body});
	ok($right, "$section: $name") or diag "said:$heard->{said}\nbody: " . substr $heard->{body}, 0, 300;
}

cmp_ok(scalar @cases, '>=', 60, scalar(@cases) . ' cases');
is($sy->stop, 0, 'it ends well');
done_testing;
