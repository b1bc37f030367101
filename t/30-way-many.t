#!/usr/bin/env perl
# Many exchanges at once on one client connection, each with a server of its own: one that is not read
# stops no other, and each may be broken off at any moment, by either side.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use IO::Select;
use Steelyard;
use Time::HiRes qw(time);
use Way qw(modules_and dial say hear hear_all ending half_close cut lines_since mark);

my $modules = modules_and('protocol/many');

my $serve = sub {
	my $sock = shift;
	my $in = '';
	while (1) {
		while ($in !~ /\n/) { sysread($sock, $in, 65536, length $in) or return }
		$in =~ s/^(\S*) ?([^\n]*)\n//;
		my ($word, $rest) = ($1, $2);
		if ($word eq 'body') { while (length $in < $rest) { sysread($sock, $in, 65536, length $in) or return } substr $in, 0, $rest, '' }
		return if $word eq 'die';
		if ($word eq 'half') { syswrite $sock, "+ part\n"; return }
		if ($word eq 'mute') { 1 while sysread $sock, $in, 65536; return }
		my $lines = join '', map { 'x' x 99 . "\n" } 1 .. 100;
		if ($word eq 'big') { say($sock, $lines) or return for 1 .. $rest / 100 }
		say($sock, "ok $rest\n");
	}
};
my ($s1, $s2) = map { Steelyard->server($_, each => $serve) } qw(s1 s2);
my $conf = <<CONF;
workers 1;
pool two { server s1 127.0.0.1:@{[ $s1->port ]}; server s2 127.0.0.1:@{[ $s2->port ]}; }
virtual-service many { listen 127.0.0.1:0; protocol many; pool two; monitor off; scheduler round-robin; idle-timeout 1m; greet-timeout 2s; }
virtual-service down { listen 127.0.0.1:0; protocol many; pool two; monitor tcp { interval 200ms; fall 1; rise 1; } scheduler round-robin; }
CONF
my $sy = Steelyard->start($conf, modules => $modules);
my %port = map { $_ => $sy->port($_) } qw(many down);

sub frame { my ($letter, $exchange, $bytes) = @_; return pack 'aNN/a*', $letter, $exchange, $bytes // '' }
# Reads frames until the code says that it is enough: { exchange => { said, T, E, X } }.
sub hear_frames {
	my ($client, $enough, $limit) = @_;
	my $end = time + ($limit // $Steelyard::LIMIT);
	while (1) {
		while (length $client->{in} >= 9) {
			my ($letter, $exchange, $len) = unpack 'aNN', $client->{in};
			last if length $client->{in} < 9 + $len;
			my $bytes = substr $client->{in}, 9, $len;
			substr $client->{in}, 0, 9 + $len, '';
			my $at = $client->{at}{$exchange} ||= { said => '' };
			$letter eq 'D' ? ($at->{said} .= $bytes) : $at->{$letter}++;
		}
		return 1 if $enough->($client->{at});
		return 0 if time > $end || !IO::Select->new($client->{sock})->can_read($end - time);
		sysread($client->{sock}, $client->{in}, 65536, length $client->{in}) or return 0;
	}
}
sub client { my ($port, %opt) = @_; return { sock => dial($port // $port{many}, %opt), in => '', at => {} } }
sub send_frames { my ($client, @frames) = @_; return say($client->{sock}, join '', @frames) }
sub over { my $at = shift; return sub { my $all = shift; !grep { !$all->{$_} || !($all->{$_}{E} || $all->{$_}{X}) } @$at } }
sub chunks { my ($n) = JSON::PP->new->encode($sy->api('GET', '/v1/memory')) =~ /"chunk_bytes":"?(\d+)/; return $n }

subtest 'a hundred at once' => sub {
	mark($sy);
	my $client = client();
	my @all = 1 .. 100;
	send_frames($client, map { frame('O', $_, "who number $_\n"), frame('F', $_) } @all);
	ok(hear_frames($client, over(\@all)), 'all end');
	my @wrong = grep { $client->{at}{$_}{said} ne "ok number $_\n" || !$client->{at}{$_}{E} } @all;
	is_deeply(\@wrong, [], 'each with the answer to its question, in order');
	is($sy->seat('many', $_)->{total}, 50, "$_ had half of them") for qw(s1 s2);
	send_frames($client, frame('O', 7, "who again\n"));
	ok(hear_frames($client, sub { ($_[0]{7}{said} // '') =~ /again/ }), 'a number is used again, without an end');
	send_frames($client, frame('D', 7, "who more\n"));
	ok(hear_frames($client, sub { $_[0]{7}{said} =~ /more/ }), 'an exchange may have several requests');
	half_close($client->{sock});
	ending($client->{sock});
	my @lines = Steelyard::wait_for('their lines', sub { my @l = lines_since($sy); @l >= 102 ? @l : 0 });
	my @parents = grep { / parent=/ } map { split /\n/ } lines_since($sy);
	is(scalar @parents, 101, 'each exchange has a line in the log');
	my ($own) = map { / id=(\S+)/ } grep { !/ parent=/ } lines_since($sy);
	is(scalar(grep { / parent=$own / } @parents), 101, "with the connection's number");
	is(scalar(grep { / server=s[12] .* end=client-done/ } @parents), 101, 'its server, and its end');
};

subtest 'one that is not read' => sub {
	my $client = client();
	send_frames($client, frame('O', 1000, "big 20000\n"), frame('O', 1, "who\n"));
	ok(hear_frames($client, sub { $_[0]{1}{said} }), 'another one is served');
	for my $n (2 .. 20) {
		send_frames($client, frame('O', $n, "who $n\n"), frame('F', $n));
	}
	ok(hear_frames($client, over([ 2 .. 20 ])), 'and others');
	is($client->{at}{1000}{said} // '', '', 'it has heard nothing');
	cmp_ok(chunks(), '<', 400_000, 'and little of its 2 MB is kept: ' . chunks());
	send_frames($client, pack 'aNN', 'W', 1000, 5000);
	ok(hear_frames($client, sub { length $_[0]{1000}{said} >= 5000 }), 'it gets what it allows');
	send_frames($client, pack 'aNN', 'W', 1000, 1 << 30);
	ok(hear_frames($client, sub { $_[0]{1000}{said} =~ /ok 20000\n\z/ }), 'then all');
	is(length $client->{at}{1000}{said}, 2_000_000 + length "ok 20000\n", 'to the last byte');
	# The client itself does not read: more than the sockets on the way can hold.
	$client = client($port{many}, receive => 65536);
	send_frames($client, map { frame('O', $_, "big 20000\n"), frame('F', $_) } 30 .. 39);
	my $kept = Steelyard::wait_for('the client to be unread', sub {
		my $before = chunks();
		select undef, undef, undef, 0.2;
		$before > 0 && chunks() == $before && $before;
	});
	cmp_ok($kept, '<', 2_500_000, "a client that does not read stops them all: $kept");
	ok(hear_frames($client, over([ 30 .. 39 ])), 'and goes on');
	is_deeply([ grep { length $client->{at}{$_}{said} != 2_000_000 + length "ok 20000\n" } 30 .. 39 ], [], 'with nothing lost');
};

subtest 'much to say' => sub {
	my $client = client();
	send_frames($client, frame('O', 1, "body 500000\n"));
	for (1 .. 10) {
		delete $client->{at}{1}{T};
		send_frames($client, frame('D', 1, 'x' x 15000), frame('D', 1, 'x' x 15000));
		hear_frames($client, sub { $_[0]{1}{T} }) or return fail('the module is told that all was taken');
	}
	pass('the module is told that all was taken');
	send_frames($client, map { frame('D', 1, 'x' x 10000) } 1 .. 20);
	ok(hear_frames($client, sub { ($_[0]{1}{said} // '') eq "ok 500000\n" }), 'a body of 500000 bytes goes through');
};

subtest 'broken off' => sub {
	my $client = client();
	send_frames($client, frame('O', 1, "die\n"), frame('O', 2, "half\n"), frame('O', 3, "wh"), frame('O', 4, "mute\n"),
		frame('O', 5, ''), frame('O', 1001, "big 3000\n"), frame('O', 6, "die\n"), frame('F', 6));
	ok(hear_frames($client, over([ 1, 2, 6 ])), 'servers that leave end theirs');
	is($client->{at}{1}{said}, "FAIL broken\n", 'before the answer: in words');
	is("$client->{at}{2}{said}$client->{at}{2}{X}", "+ part\n1", 'in the middle of it: as broken');
	send_frames($client, map { frame('R', $_) } 3, 4, 5, 1001, 77);
	send_frames($client, frame('O', 8, "who\n"), frame('F', 8));
	ok(hear_frames($client, over([8])), 'the client breaks off others, at every stage, and is served');
	Steelyard::wait_for('those to be gone', sub { my $c = $sy->api('GET', '/v1/connections'); my $list = ref $c eq 'HASH' ? $c->{connections} : $c; @$list == 1 });
	pass('nothing is left of them');
	is($client->{at}{4}{said} // '', '', 'and nothing is heard of them');
	# The client goes in the middle of all.
	for my $how (\&cut, sub { close $_[0] }, \&half_close) {
		my $client = client();
		send_frames($client, map { frame('O', $_, $_ % 2 ? "mute\n" : "big 3000\n") } 1 .. 50);
		hear_frames($client, sub { keys %{ $_[0] } > 5 });
		$how->($client->{sock});
		Steelyard::wait_for('all to be gone', sub { my $c = $sy->api('GET', '/v1/connections'); my $list = ref $c eq 'HASH' ? $c->{connections} : $c; @$list == 1 });
	}
	pass('a client that goes takes all of its own along');
	mark($sy);
	my $twice = client();
	send_frames($twice, frame('O', 1, "mute\n"), frame('O', 1, "mute\n"));
	is(ending($twice->{sock}), 'reset', 'a module that opens one twice is broken');
	Steelyard::wait_for('its line', sub { grep { /OPEN of an exchange that is open/ } lines_since($sy) });
};

subtest 'servers and configurations go' => sub {
	$sy->wait_up('down', $_) for qw(s1 s2);
	my $client = client($port{down});
	send_frames($client, map { frame('O', $_, "mute\n") } 1 .. 20);
	Steelyard::wait_for('them to be under way', sub { $sy->seat('down', 's1')->{active} == 10 });
	$sy->ctl('disable', 's2');
	my ($ok, $text) = $sy->reload("$conf# again\nlog-connections on;\n");
	ok($ok, 'a reload') or diag $text;
	# Nobody listens any more, but what is connected stays: only the core can end it.
	$s1->kill;
	ok(hear_frames($client, sub { 10 == grep { $_->{E} || $_->{X} } values %{ $_[0] } }), 'a server goes down: its exchanges end');
	is(scalar(grep { ($_->{said} // '') eq "FAIL broken\n" } values %{ $client->{at} }), 10, 'in words');
	$sy->ctl('enable', 's2');
	Steelyard::wait_for('the other one to be chosen', sub {
		send_frames($client, frame('O', 50, "who\n"), frame('F', 50));
		hear_frames($client, over([50]));
		my $said = delete($client->{at}{50})->{said};
		$said eq "ok \n";
	});
	pass('the others live, and new ones are served, in the old configuration');
	is(scalar(grep { $_->{E} || $_->{X} } @{ $client->{at} }{ 1 .. 20 }), 10, 'and still do');
	close $client->{sock};
};
Steelyard::wait_for('all to have ended', sub { $sy->api('GET', '/v1/status')->{active} == 0 });
is(chunks(), 0, 'no memory is held');
is($sy->stop, 0, 'it ends well');
done_testing;
