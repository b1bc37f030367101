#!/usr/bin/env perl
# A protocol module in the path: every verdict, exchanges that go to different servers, servers that
# are kept, windows, deadlines, and modules that break their contract.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Steelyard;
use Way qw(modules_and dial say hear hear_all ending half_close cut line_of mark);

my $modules = modules_and('protocol/lines');

my ($s1, $s2) = map { Steelyard->server($_) } qw(s1 s2);
# Half an answer and the end; an answer and the end; nothing; more than was asked for.
my $odd = Steelyard->server('odd', on => sub {
	my $sock = shift;
	return if fork;
	my $line = '';
	while ($line !~ /\n/) { sysread($sock, my $c, 1) or last; $line .= $c }
	say($sock, 'half') if $line =~ /half/;
	say($sock, "whole\n") if $line =~ /whole/;
	say($sock, "one\ntwo\n"), select undef, undef, undef, 1 if $line =~ /more/;
	say($sock, 'x' x 1000) if $line =~ /flood/;
	select undef, undef, undef, 0.5 if $line =~ /flood/;
	POSIX::_exit(0);
});
# Tells each line's connection.
my $who = Steelyard->server('who', on => sub {
	my $sock = shift;
	return if fork;
	my $port = $sock->peerport;
	while (1) {
		my $line = '';
		while ($line !~ /\n/) { sysread($sock, my $c, 1) or POSIX::_exit(0); $line .= $c }
		say($sock, "$port $line");
	}
});
# Who asks how it is, asks here.
my $pulse = Steelyard->server('pulse');
my $sy = Steelyard->start(<<CONF, modules => $modules);
workers 1;
pool two { server s1 127.0.0.1:@{[ $s1->port ]}; server s2 127.0.0.1:@{[ $s2->port ]}; }
pool one { server s1 127.0.0.1:@{[ $s1->port ]}; }
pool who { server who 127.0.0.1:@{[ $who->port ]}; }
virtual-service who { listen 127.0.0.1:0; protocol lines; pool who; monitor tcp { port @{[ $pulse->port ]}; interval 200ms; fall 1; rise 1; } }
pool odd { server odd 127.0.0.1:@{[ $odd->port ]}; }
virtual-service two { listen 127.0.0.1:0; protocol lines; pool two; scheduler round-robin; monitor off; }
virtual-service one { listen 127.0.0.1:0; protocol lines; pool one; monitor off; greet-timeout 1s; idle-timeout 2s; }
virtual-service odd { listen 127.0.0.1:0; protocol lines; pool odd; monitor off; }
CONF
my %port = map { $_ => $sy->port($_) } qw(two one odd who);

sub ask {
	my ($sock, $line) = @_;
	return "not sent" unless say($sock, "$line\n");
	return hear($sock, qr/\n/) =~ s/\n\z//r;
}
sub over { my ($sock, $end, $words, $name) = @_;
	my $line = line_of($sy, ref $sock ? $sock : $sock);
	is($line->{end}, $end, $name);
	like($line->{words}, $words, "$name, in words");
}

subtest 'exchanges' => sub {
	my $sock = dial($port{two});
	my @got = map { ask($sock, "key number $_") } 1 .. 6;
	my %by;
	$by{ (split /:/)[0] }++ for @got;
	is_deeply(\%by, { s1 => 3, s2 => 3 }, 'each line to the next server, on one client connection');
	is(scalar(grep { $got[$_ - 1] =~ /: key number $_$/ } 1 .. 6), 6, 'each answer to its question');
	say($sock, join '', map { "pipelined $_\n" } 1 .. 20);
	my $all = hear($sock, qr/(?:\n.*){20}/s);
	is(join(' ', $all =~ /pipelined (\d+)/g), join(' ', 1 .. 20), 'twenty at once are answered in order');
	half_close($sock);
	is(hear_all($sock), '<end>', 'the end of the client ends it');
	over($sock, 'client-done', qr/^client closed first$/, 'between two exchanges');
	my ($service) = grep { $_->{name} eq 'two' } @{ $sy->api('GET', '/v1/services')->{services} };
	is($service->{total}, 26, 'the service has counted its exchanges');
	is($_->{total}, 13, "$_->{name} its own") for @{ $service->{servers} };
	is($service->{active} + $service->{servers}[0]{active} + $service->{servers}[1]{active}, 0, 'none is under way');
};

subtest 'verdicts' => sub {
	my $sock = dial($port{one});
	is(ask($sock, 'hello'), 'hello yourself', 'EMIT to the client, without a server');
	say($sock, "drop this\n");
	is(ask($sock, 'key one'), 's1: key one', 'DROP');
	is(ask($sock, 'stamp it'), 's1: STAMPED', 'EMIT to the server, instead of the line');
	say($sock, "key in p");
	select undef, undef, undef, 0.1;
	is(ask($sock, 'ieces'), 's1: key in pieces', 'NEED');
	is(ask($sock, 'quit'), 'bye', 'CLOSE with last words');
	is(hear_all($sock), '<end>', 'and no reset');
	close $sock;
	$sock = dial($port{two});
	my $pin = ask($sock, 'pin me');
	my ($who) = $pin =~ /^(\w+): pin me$/ or diag $pin;
	is_deeply([ map { (split /:/, ask($sock, "key $_"))[0] } 1 .. 4 ], [ ($who) x 4 ], 'PIN: always the same server');
	close $sock;
	$sock = dial($port{two});
	like(ask($sock, 'tunnel now'), qr/^(\w+): tunnel now$/, 'TUNNEL before a ROUTE');
	say($sock, "a\nb\nc\nd\n");
	like(hear($sock, qr/: d\n/), qr/^(\w+): a\n\1: b\n\1: c\n\1: d\n$/, 'all lines after it go to one server');
	half_close($sock);
	is(ending($sock), 'end', 'and the end, too');
};

subtest 'limits' => sub {
	mark($sy);
	my $sock = dial($port{one});
	say($sock, 'x' x 200);
	is(ending($sock), 'reset', 'the window is full, and still no sense');
	over($sock, 'protocol-window', qr/^client said more than the protocol's window without sense$/, 'its reason');
	$sock = dial($port{odd});
	say($sock, "flood\n");
	ending($sock);
	over($sock, 'protocol-window', qr/^server said more/, 'the same from a server');
	$sock = dial($port{one});
	is(ending($sock), 'reset', 'who says nothing at all');
	over($sock, 'greet-timeout', qr/^client said 0 bytes, not enough, within greet-timeout \(1s\)$/, 'its reason');
	$sock = dial($port{one});
	say($sock, 'half a line');
	is(ending($sock), 'reset', 'who stops in the middle');
	over($sock, 'protocol-late', qr/^client did not complete in time$/, 'its reason');
	$sock = dial($port{one});
	ask($sock, 'key');
	is(ending($sock), 'reset', 'who has had an exchange and is silent');
	over($sock, 'idle', qr/idle-timeout$/, 'its reason');
	$sock = dial($port{one});
	say($sock, 'half a line');
	half_close($sock);
	ending($sock);
	over($sock, 'client-early', qr/^client left/, 'who leaves in the middle of the first line');
	# A client that asks and asks, and never reads the answers.
	$sock = dial($port{one}, receive => 4096);
	$sock->blocking(0);
	my $sent = 0;
	my $end = time + 3;
	while (time < $end) {
		my $n = syswrite $sock, 'key ' . ('x' x 150) . "\n";
		$n ? $sent += $n : select undef, undef, undef, 0.05;
	}
	cmp_ok($sent, '<', 30_000_000, sprintf 'who never reads is not read (%d bytes)', $sent);
	my $memory = $sy->api('GET', '/v1/memory');
	my ($chunks) = JSON::PP->new->canonical->encode($memory) =~ /"chunk_bytes":"?(\d+)/;
	cmp_ok($chunks // 1e9, '<', 300_000, 'and costs little memory: ' . ($chunks // 'unknown'));
	close $sock;
};

subtest 'servers' => sub {
	mark($sy);
	my $sock = dial($port{odd});
	is(ask($sock, 'whole'), 'whole', 'a server that ends after its answer');
	# Its end may still be under way: whoever speaks now may speak to a dying connection.
	select undef, undef, undef, 2;
	is(ask($sock, 'whole'), 'whole', 'is asked again on another connection');
	$sock = dial($port{odd});
	is(ask($sock, 'more'), 'one', 'one that says more than it was asked');
	select undef, undef, undef, 2;
	is(ask($sock, 'whole'), 'whole', 'is not listened to');
	$sock = dial($port{odd});
	say($sock, "half\n");
	is(ending($sock), 'reset', 'half an answer is no answer');
	# Its kernel sends a reset when our next word is there already.
	my $line = line_of($sy, $sock);
	like("$line->{end}: $line->{words}", qr/^(?:protocol-cut: server closed in the middle of an exchange$|server-reset: )/,
		'its reason, in words');
	$sock = dial($port{odd});
	say($sock, "nothing\n");
	is(hear_all($sock), '<end>', 'no answer at all');
	over($sock, 'server-done', qr/^server closed first$/, 'its reason');
};

subtest 'servers that are kept' => sub {
	$sy->wait_up('who', 'who');
	mark($sy);
	my ($sock, $pinned) = (dial($port{who}), dial($port{who}));
	my %ports;
	for my $n (1 .. 5) {
		my ($port, $text) = ask($sock, "line $n") =~ /^(\d+) (.*)$/;
		is($text, "line $n", "exchange $n");
		$ports{$port}++;
	}
	is(scalar keys %ports, 1, 'all over one connection to the server');
	like(ask($pinned, 'pin it'), qr/ pin it$/, 'a pinned one');
	my $seat = $sy->seat('who', 'who');
	is($seat->{total}, 6, 'each counts');
	is($seat->{bytes_up}, 5 * length("line 1\n") + length("pin it\n"), 'with its bytes');
	is($seat->{active}, 0, 'none is under way');
	$pulse->kill;
	$sy->wait_down('who', 'who');
	is(ending($pinned), 'reset', 'when the server goes down, who is pinned to it is reset');
	over($pinned, 'server-down', qr/^server went down: /, 'its reason');
	ok(!IO::Select->new($sock)->can_read(0.3), 'the other client has nothing under way, and stays');
	$pulse->again;
	$sy->wait_up('who', 'who');
	like(ask($sock, 'line 6'), qr/ line 6$/, 'and is served when the server is back');
	half_close($sock);
	is(hear_all($sock), '<end>', 'to its end');
};

subtest 'broken modules' => sub {
	mark($sy);
	for (['greedy', qr/more bytes consumed than there are/], ['early', qr/PASS without an exchange/],
		['standstill', qr/no progress/], ['end', qr/no progress/], ['again', qr/ROUTE before the END/]) {
		my ($word, $words) = @$_;
		my $sock = dial($port{one});
		say($sock, "$word\n");
		is(ending($sock), 'reset', "$word: the connection is closed");
		over($sock, 'protocol-broken', $words, $word);
	}
	is(ask(dial($port{one}), 'hello'), 'hello yourself', 'the others are served');
};

Steelyard::wait_for('all to have ended', sub { $sy->api('GET', '/v1/status')->{active} == 0 });
is($sy->stop, 0, 'it ends well');
done_testing;
