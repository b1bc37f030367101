#!/usr/bin/env perl
# protocol sip in mode proxy: Routes (RFC 3261 16.4, 16.6, 16.12; RFC 5658), spirals and loops, and two machines that
# stand in for each other.
use strict;
use warnings;
use File::Temp qw(tempdir);
use IO::Socket::INET;
use POSIX ();
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Sip qw(usual request response field messages uas heard wait_heard);
use Steelyard;
use Way qw(dial say hear);

# ---- servers ----

my %uas = map { $_ => uas($_, usual($_)) } qw(s1 s2);
# It sends what it hears back to where it came from, as it is or to somebody else, and hears more meanwhile.
sub comes_back {
	my ($name, $change) = @_;
	return uas($name, sub {
		my ($message, $sock) = @_;
		return '' if $message =~ /^(?:ACK|SIP)/;
		return usual($name)->($message) if $message =~ m{^\w+ sip:bert};
		return '' if fork;
		my ($host, $port) = $message =~ m{^Via: SIP/2\.0/TCP ([\d.]+):(\d+)}m or POSIX::_exit(1);
		my $again = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port) or POSIX::_exit(1);
		syswrite $again, $change->($message) =~ s{\r\n}{\r\nVia: SIP/2.0/TCP 127.0.0.1:9;branch=z9hG4bK-back\r\n}r;
		my $got = hear($again, qr{^SIP/2\.0 [2-6].*\r\n\r\n\z}ms) =~ s{^SIP/2\.0 1.*?\r\n\r\n}{}sr;
		syswrite $sock, $got =~ s{^Via:.*\r\n}{}mr;
		POSIX::_exit(0);
	});
}
$uas{spiral} = comes_back('spiral', sub { $_[0] =~ s/^(\w+) \S+/$1 sip:bert\@example.com/r });
$uas{loop} = comes_back('loop', sub { $_[0] });
my $udp = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Proto => 'udp') or die $!;

# ---- machines ----

my $dir = tempdir('sip-routes-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $dir;
for my $name (qw(one other)) {
	open my $out, '>', "$dir/$name" or die $!;
	print $out "the key that is called $name\n";
	close $out;
}
sub pool { my $name = shift; return "pool $name { " . join(' ', map { "server $_ 127.0.0.1:" . $uas{$_}->port . ';' } @_) . " }\n" }
sub service {
	my ($name, $pool, $more, $listen) = @_;
	return "virtual-service $name { listen " . ($listen // '127.0.0.1:0') . "; protocol sip { mode proxy; " . ($more // '')
		. " } pool $pool; scheduler round-robin; monitor off; }\n";
}
my $both = Steelyard::free_port('both');
my $sy = Steelyard->start(pool('two', qw(s1 s2)) . pool('spiral', 'spiral') . pool('loop', 'loop')
	. "pool udp { transport udp; server u 127.0.0.1:" . $udp->sockport . "; }\n"
	. service('two', 'two', "key $dir/one;") . service('spiral', 'spiral') . service('loop', 'loop')
	. service('udp', 'udp', '', "127.0.0.1:$both 127.0.0.1:$both/udp"));
my %port = map { $_ => $sy->port($_) } qw(two spiral loop udp);
# Its servers are in another order.
my $second = Steelyard->start(pool('two', qw(s2 s1)) . service('two', 'two', "key $dir/one;") . service('stranger', 'two', "key $dir/other;"));

# One request, one final answer.
sub ask {
	my ($sock, @request) = @_;
	say($sock, @request == 1 ? $request[0] : request(@request));
	return hear($sock, qr{^SIP/2\.0 [2-6].*\r\n\r\n\z}ms) =~ s{^SIP/2\.0 1.*?\r\n\r\n}{}sr;
}
sub routes { my ($answer) = @_; return reverse $answer =~ /^Record-Route: (.*)\r$/mg }
sub uri { my ($request, $uri) = @_; return $request =~ s/ \S+ SIP/ $uri SIP/r }
# An INVITE that is answered and has its ACK: the answer, and its Routes.
sub invite {
	my ($sock, $id) = @_;
	my $ok = ask($sock, 'INVITE', id => $id);
	my @routes = routes($ok);
	say($sock, request('ACK', id => $id, branch => "z9hG4bK-ack-$id", to => ';tag=server', more => join '', map { "Route: $_\r\n" } @routes));
	wait_heard(field($ok, 'Server'), 'ACK', $id);
	return ($ok, @routes);
}
sub bye { my ($id, $cseq, @routes) = @_; return request('BYE', id => $id, cseq => $cseq, to => ';tag=server', more => join '', map { "Route: $_\r\n" } @routes) }
sub heard_by_one { my ($method, $id) = @_; return map { heard($_, $method, $id) } qw(s1 s2) }

subtest 'Routes' => sub {
	my $sock = dial($port{two});
	my ($strict, $bare);
	# As in RFC 3261 16.12.1.2: who routes strictly has put our Route into the Request-URI.
	for my $i (1 .. 2) {
		my ($ok, @routes) = invite($sock, "strict-$i");
		my ($ours) = $routes[1] =~ /<(.*)>/;
		my ($first) = $routes[0] =~ /<(.*)>/;
		my $got = ask($sock, uri(bye("strict-$i", 2, $routes[1], '<sip:b@192.0.2.9>'), $first));
		is(field($got, 'Server'), field($ok, 'Server'), 'a strict router: to the server of the call');
		($strict) = heard_by_one('BYE', "strict-$i");
		like($strict, qr{^BYE sip:b\@192\.0\.2\.9 SIP/2\.0\r\n}, 'the last Route is the Request-URI again');
		unlike($strict, qr/^Route:/m, 'and no Route is left');
	}
	for my $i (1 .. 2) {
		my ($ok, @routes) = invite($sock, "next-$i");
		my $got = ask($sock, uri(bye("next-$i", 2, @routes, '<sip:p@192.0.2.7;ttl=1>, <sip:q@192.0.2.8;lr>'), 'sip:b@192.0.2.9'));
		is(field($got, 'Server'), field($ok, 'Server'), 'behind us somebody routes strictly: to the server of the call');
		($strict) = heard_by_one('BYE', "next-$i");
		like($strict, qr{^BYE sip:p\@192\.0\.2\.7;ttl=1 SIP/2\.0\r\n}, 'its URI is the Request-URI');
		is_deeply([ $strict =~ /^Route: (.*)\r$/mg ], [ '<sip:q@192.0.2.8;lr>', '<sip:b@192.0.2.9>' ], 'and the one that was comes last');
	}
	ask($sock, request('OPTIONS', id => 'twice', more => "Route: <sip:127.0.0.1:$port{two};lr>, <sip:127.0.0.1:$port{two};lr>,<sip:k;lr>\r\n"));
	is_deeply([ (heard_by_one('OPTIONS', 'twice'))[0] =~ /^Route: (.*)\r$/mg ], [ '<sip:k;lr>' ], 'Routes that name us twice both go');
	my ($ok, @routes) = invite($sock, 'foreign');
	ask($sock, bye('foreign', 2, '<sip:192.0.2.5;lr>', @routes));
	is_deeply([ (heard_by_one('BYE', 'foreign'))[0] =~ /^Route: (.*)\r$/mg ], [ '<sip:192.0.2.5;lr>', @routes ], 'behind that of another proxy ours wait for their turn');
	ask($sock, request('OPTIONS', id => 'no-mf') =~ s/Max-Forwards: 70\r\n//r);
	like((heard_by_one('OPTIONS', 'no-mf'))[0], qr/^Max-Forwards: 70\r$/m, 'who says no Max-Forwards gets 70');
	like(ask($sock, request('OPTIONS', id => 'mf-1') =~ s/Max-Forwards: 70/Max-Forwards: 1/r), qr{^SIP/2\.0 200 }, 'Max-Forwards 1 goes on');
	like((heard_by_one('OPTIONS', 'mf-1'))[0], qr/^Max-Forwards: 0\r$/m, 'as 0');
	like(ask($sock, request('OPTIONS', id => 'mf-0') =~ s/Max-Forwards: 70/Max-Forwards: 0/r), qr{^SIP/2\.0 483 }, 'and 0 does not');
};

subtest 'a call across transports, the server hangs up' => sub {
	my $sock = dial($port{udp});
	my $from;
	my $hears = sub {
		my $pattern = shift;
		while (IO::Select->new($udp)->can_read($Steelyard::LIMIT)) {
			$from = recv $udp, my $bytes, 65536, 0;
			return $bytes if $bytes =~ $pattern;
		}
		return 'nothing';
	};
	say($sock, request('INVITE', id => 'across'));
	my $invite = $hears->(qr/^INVITE/);
	my @record = $invite =~ /^Record-Route: (.*)\r$/mg;
	like("@record", qr{^<sip:[\w-]+\@127\.0\.0\.1:$both;lr> <sip:[\w-]+\@127\.0\.0\.1:$both;transport=tcp;lr>$}, 'one Route for each side (RFC 5658)');
	send $udp, response($invite, 200, 'OK', join '', map { "Record-Route: $_\r\n" } @record), 0, $from;
	hear($sock, qr/200 OK.*\r\n\r\n\z/s);
	say($sock, request('ACK', id => 'across', branch => 'z9hG4bK-ack-across', to => ';tag=server', more => join '', map { "Route: $_\r\n" } reverse @record));
	like($hears->(qr/^ACK/), qr/^ACK/, 'the ACK goes to UDP');
	my $vip = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $both, Proto => 'udp');
	my $bye = "BYE sip:a\@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:" . $vip->sockport . ";branch=z9hG4bKbye;rport\r\nMax-Forwards: 70\r\n"
		. "From: <sip:alice\@example.com>;tag=server\r\nTo: <sip:alice\@example.com>;tag=facross\r\nCall-ID: across\r\nCSeq: 5 BYE\r\n"
		. join('', map { "Route: $_\r\n" } @record) . "Content-Length: 0\r\n\r\n";
	$vip->send($bye);
	my $got = hear($sock, qr/^BYE.*\r\n\r\n\z/ms);
	like($got, qr{^BYE sip:a\@192\.0\.2\.1 SIP/2\.0\r\nVia: SIP/2\.0/TCP 127\.0\.0\.1:$both;}, 'the BYE comes to the client over TCP');
	unlike($got, qr/^Route:/m, 'both Routes were ours');
	say($sock, response($got, 200, 'OK'));
	ok(IO::Select->new($vip)->can_read($Steelyard::LIMIT), 'its answer');
	$vip->recv(my $answer, 65536);
	like($answer, qr{^SIP/2\.0 200 OK\r\nVia: SIP/2\.0/UDP 127\.0\.0\.1:\d+;branch=z9hG4bKbye}, 'comes back over UDP');
};

subtest 'spirals and loops' => sub {
	my $got = ask(dial($port{spiral}), 'OPTIONS', id => 'spiral');
	like($got, qr{^SIP/2\.0 200 OK\r\nVia: SIP/2\.0/TCP 192\.0\.2\.1:5060;}, 'a request that comes by again, for somebody else: a spiral');
	my @there = heard('spiral', 'OPTIONS', 'spiral');
	is(scalar @there, 2, 'it was at its server twice');
	is(() = $there[1] =~ /^Via: .*:$port{spiral};branch=/mg, 2, 'with two Vias of ours');
	$got = ask(dial($port{loop}), 'OPTIONS', id => 'loop');
	like($got, qr{^SIP/2\.0 482 Loop Detected\r\nVia: SIP/2\.0/TCP 192\.0\.2\.1:5060;}, 'as it was: a loop');
	is(scalar heard('loop', 'OPTIONS', 'loop'), 1, 'which its server does not see again');
};

subtest 'two machines with one key' => sub {
	my $sock = dial($port{two});
	my $there = dial($second->port('two'));
	my %at;
	for my $i (1 .. 4) {
		my ($ok, @routes) = invite($sock, "moved-$i");
		my $got = ask($there, bye("moved-$i", 2, @routes));
		is(field($got, 'Server'), field($ok, 'Server'), 'a call of the first one goes on by the second, at its server');
		$at{ field($ok, 'Server') }++;
	}
	is_deeply(\%at, { s1 => 2, s2 => 2 }, 'wherever that is');
	my ($ok, @routes) = invite($sock, 'strange');
	my $got = ask(dial($second->port('stranger')), bye('strange', 2, map { s/:$port{two};/":" . $second->port('stranger') . ";"/er } @routes));
	like($got, qr{^SIP/2\.0 403 Forbidden: a Route of Another Key, or of Another Call\r\n}, 'with another key it is refused, in words');
	is(scalar heard_by_one('BYE', 'strange'), 0, 'and no server hears of it');
	# The server hangs up by the second one: the client's connection is at the first one.
	my ($invite) = heard(field($ok, 'Server'), 'INVITE', 'strange');
	my @record = $invite =~ /^Record-Route: (.*)\r$/mg;
	like(ask($there, bye('strange', 7, @record)), qr{^SIP/2\.0 430 Flow Failed\r\n}, 'a client that is at the first one cannot be reached by the second: 430');
	# An answer that comes by the second one to a request of the first: nobody is there to hear it, and nothing breaks.
	my $stray = response($invite, 200, 'OK');
	say($there, $stray);
	like(ask($there, 'OPTIONS', id => 'after-stray'), qr{^SIP/2\.0 200 .*Call-ID: after-stray\r\n}s, 'an answer for a client of the first one is lost, and the connection is not');
	my $server = dial($port{two});
	say($server, $stray);
	like(hear($sock, qr/^SIP.*\r\n\r\n\z/s), qr{^SIP/2\.0 200 OK\r\nVia: SIP/2\.0/TCP 192\.0\.2\.1:5060;.*Call-ID: strange\r\n}s, 'by the first one it finds its way');
};

is($second->stop, 0, 'the second one ends well');
is($sy->stop, 0, 'it ends well');
done_testing;
