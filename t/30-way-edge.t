#!/usr/bin/env perl
# What the kernel says of a socket is said once (way/edge.h), and nothing is forgotten: hundreds of
# connections, whose ends say as much as they like, when they like, read at their own pace, and end in
# either order, in the same instant as their last byte or later. All that was said arrives, so does each
# end, and nobody waits for ever. The same behind a PROXY header, and where one of the two connections is TLS.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Certificates;
use IO::Socket::INET;
use List::Util qw(max min);
use Socket qw(IPPROTO_TCP MSG_OOB SHUT_WR SOL_SOCKET SO_RCVBUF SO_SNDBUF TCP_NODELAY);
use Steelyard;
use Time::HiRes qw(time);
use Way qw(dial say hear);

my $CONNECTIONS = 300; # to each service, twice
my $AT_ONCE = 60;
my $seed = $ENV{SEED} // int(time * 1000) & 0xffffff;
note "again with SEED=$seed";
srand $seed;

my $certs = Certificates->new;
$certs->authority('ca');
$certs->issue('web', ca => 'ca', key => 'ec', names => ['web.example.net']);
my $dir = $certs->dir;
my $origin = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1000, Blocking => 0) or die $!;
my $inner = Steelyard::free_port();
my $sy = Steelyard->start(<<CONF);
workers 1;
pool origin { server origin 127.0.0.1:@{[ $origin->sockport ]}; }
pool inner { tls { ca $dir/ca.crt; name web.example.net; } server inner 127.0.0.1:$inner; }
virtual-service spliced { listen 127.0.0.1:0; pool origin; monitor off; }
virtual-service copied { listen 127.0.0.1:0; pool origin; monitor off; splice off; }
virtual-service proxied { listen 127.0.0.1:0; accept-proxy-from 127.0.0.0/8; pool origin; monitor off; }
virtual-service outer { listen 127.0.0.1:0; pool inner; monitor off; connect-timeout 1m; }
virtual-service inner { listen 127.0.0.1:$inner { tls { certificate $dir/web.crt; key $dir/web.key; handshake-timeout 1m; } } pool origin; monitor off; }
CONF

my $RING = 1 << 18;
my $noise = join '', map { chr int rand 256 } 1 .. $RING;
$noise .= $noise;

# A speech begins with its number: whoever hears it knows how it must go on, and how far.
my @speeches;
sub speech {
	my $draw = rand;
	my $len = $draw < 0.2 ? 0 : $draw < 0.5 ? int rand 200 : $draw < 0.8 ? int rand 20_000 : $draw < 0.97 ? int rand 400_000 : 3_000_000;
	my $id = @speeches;
	push @speeches, { id => $id, len => $len, from => int rand $RING };
	return $speeches[$id];
}

sub end_of {
	my ($sock, $waits, $header) = @_;
	$sock->blocking(0);
	setsockopt $sock, IPPROTO_TCP, TCP_NODELAY, 1;
	setsockopt $sock, SOL_SOCKET, SO_SNDBUF, 8192 if rand() < 0.2;
	my $speech = speech();
	return {
		sock => $sock, say => $speech, said => 0, first => ($header // '') . pack('N', $speech->{id}), heard => 0, head => '',
		piece => rand() < 0.3 ? 1 + int rand 3000 : 65536, sip => rand() < 0.3 ? 1 + int rand 3000 : 65536,
		hesitates => rand() < 0.3, lingers => rand() < 0.4, waits => $waits, due => $header ? time + rand 0.01 : 0,
	};
}

sub has_words { my $end = shift; return length $end->{first} || $end->{said} < $end->{say}{len} }

# Says a piece, and with the last one, or later, its end.
sub say_some {
	my $end = shift;
	my ($speech, $sock) = @$end{qw(say sock)};
	if (has_words($end)) {
		my $n = min(max($end->{piece}, $speech->{len} >> 5), $speech->{len} - $end->{said}, $RING);
		my $bytes = $end->{first} . substr $noise, ($speech->{from} + $end->{said}) % $RING, $n;
		my $sent = syswrite $sock, $bytes;
		return $!{EAGAIN} ? undef : "write: $!" unless defined $sent;
		my $of_first = min($sent, length $end->{first});
		substr $end->{first}, 0, $of_first, '';
		$end->{said} += $sent - $of_first;
		$end->{due} = time + rand 0.01 if $end->{hesitates};
		return undef if has_words($end);
		if ($end->{lingers}) { $end->{due} = time + rand 0.03; return undef }
	}
	return undef if $end->{waits} && !$end->{over};
	shutdown $sock, SHUT_WR;
	$end->{shut} = 1;
	return undef;
}

sub hear_some {
	my $end = shift;
	my $speech = $end->{hears};
	my $n = sysread $end->{sock}, my $bytes, max($end->{sip}, $speech ? $speech->{len} >> 5 : 4);
	return $!{EAGAIN} ? undef : "read: $!" unless defined $n;
	if (!$n) {
		$end->{over} = 1;
		return 'an end before the first words' unless $speech;
		return $end->{heard} == $speech->{len} ? undef : "an end after $end->{heard} of $speech->{len} bytes";
	}
	if (!$speech) {
		$end->{head} .= substr $bytes, 0, 4 - length $end->{head}, '';
		return undef if length $end->{head} < 4;
		$speech = $end->{hears} = $speeches[unpack 'N', $end->{head}] or return 'words that nobody said';
	}
	my $expected = substr $noise, ($speech->{from} + $end->{heard}) % $RING, length $bytes;
	return "other words behind $end->{heard} bytes" if $bytes ne $expected;
	$end->{heard} += length $bytes;
	$end->{due} = time + rand 0.01 if $end->{hesitates};
	return undef;
}

# $CONNECTIONS to the port. What went wrong, and how many have ended well (each has two ends).
sub soak {
	my ($port, $waits, $header) = @_;
	my (@wrong, %ends);
	my ($made, $well, $limit) = (0, 0, time + 2 * $Steelyard::LIMIT);
	while ($well + @wrong < 2 * $CONNECTIONS && time < $limit && @wrong < 20) {
		while ($made < $CONNECTIONS && keys %ends < 2 * $AT_ONCE) {
			my $sock = IO::Socket::INET->new(Proto => 'tcp') or die $!;
			setsockopt $sock, SOL_SOCKET, SO_RCVBUF, 4096 if rand() < 0.2;
			connect $sock, Socket::pack_sockaddr_in($port, Socket::inet_aton('127.0.0.1')) or die "connect: $!";
			$ends{fileno $sock} = end_of($sock, $waits eq 'client', $header);
			$made++;
			last if rand() < 0.3;
		}
		my ($now, $r, $w) = (time, '', '');
		my $pause = 0.05;
		vec($r, fileno $origin, 1) = 1;
		for (values %ends) {
			if ($_->{due} > $now) { $pause = min($pause, $_->{due} - $now); next }
			vec($r, fileno $_->{sock}, 1) = 1 unless $_->{over};
			vec($w, fileno $_->{sock}, 1) = 1 unless $_->{shut} || ($_->{waits} && !$_->{over} && !has_words($_));
		}
		select $r, $w, undef, $pause;
		if (vec $r, fileno $origin, 1) {
			while (my $sock = $origin->accept) { $ends{fileno $sock} = end_of($sock, $waits eq 'server') }
		}
		for my $fd (keys %ends) {
			my $end = $ends{$fd};
			my $problem;
			$problem = say_some($end) if vec $w, $fd, 1;
			$problem //= hear_some($end) if vec $r, $fd, 1;
			next unless $problem || ($end->{shut} && $end->{over});
			$problem ? push @wrong, $problem : $well++;
			close $end->{sock};
			delete $ends{$fd};
		}
	}
	push @wrong, map { my $e = $_; sprintf 'left over: said %d of %d%s, heard %d of %s%s', $e->{said}, $e->{say}{len}, $e->{shut} ? ' and its end' : '',
		$e->{heard}, $e->{hears} ? $e->{hears}{len} : '?', $e->{over} ? ' and the end' : '' } values %ends;
	return ($well, @wrong);
}

# What the log says, apart from connections that ended as they should.
sub others { return grep { / end=/ && !/ end=(?:client|server)-done$/ } split /\n/, $sy->log_text }

for my $service (qw(spliced copied proxied outer)) {
	for my $waits (qw(client server)) {
		my ($well, @wrong) = soak($sy->port($service), $waits, $service eq 'proxied' && "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n");
		ok(!@wrong, "$service: nothing is lost, and nobody is left waiting, where the $waits may wait for the other's end")
			or diag join "\n", "SEED=$seed", @wrong[0 .. min($#wrong, 9)], others();
		is($well, 2 * $CONNECTIONS, "$service: all ends were reached");
	}
}

# Linux stops a read before an urgent byte, which is not of the stream. All has come before it is read.
my $echo = Steelyard->server('echo');
my $urgent = Steelyard->start("workers 1;\npool echo { server echo 127.0.0.1:@{[ $echo->port ]}; }\n"
	. "virtual-service echo { listen 127.0.0.1:0; pool echo; monitor off; }\n");
my ($worker, $client) = ($urgent->pid_of('worker'), dial($urgent->port('echo')));
say($client, "first\n");
is(hear($client, qr/\n/), "echo: first\n", 'a connection that has been silent for a moment');
kill STOP => $worker;
say($client, 'be');
send $client, '!', MSG_OOB or die "send: $!";
say($client, "fore\n");
kill CONT => $worker;
is(hear($client, qr/\n/, 10), "echo: before\n", 'what is behind an urgent byte does not wait for more');
$urgent->stop;

ok(\$sy->alive, 'alive');
is_deeply([others()], [], 'no connection ended but by its ends');
$sy->stop;
done_testing;
