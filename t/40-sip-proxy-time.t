#!/usr/bin/env perl
# protocol sip in mode proxy: what happens when nobody answers (RFC 3261 17, Timers A to K, and C of 16.6). All
# waits run side by side: this process is every client and every server, and writes down what each hears and when.
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(time);
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Sip qw(request response field messages);
use Steelyard;

my %server = (
	u => IO::Socket::INET->new(LocalAddr => '127.0.0.1', Proto => 'udp'),
	t => IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 100, Proto => 'tcp'),
);
# A service is named by the transports of its clients and of its servers.
my @ways = qw(uu ut tu tt);
my $sy = Steelyard->start(join '', map({ "pool $_ { transport " . ($_ eq 'u' ? 'udp' : 'tcp')
		. "; server s 127.0.0.1:" . $server{$_}->sockport . "; }\n" } qw(u t)), map({ my ($client, $pool) = split //;
	"virtual-service $_ { listen 127.0.0.1:0" . ($client eq 'u' ? '/udp' : '') . "; protocol sip { mode proxy; "
		. "ring-timeout 4s; } pool $pool; monitor off; }\n" } @ways));

# ---- everybody ----

my $select = IO::Select->new(values %server);
my (%is, %heard, %asked, @later); # by socket: who; by who and Call-ID: [time, message]; by Call-ID: time; [time, code]
my $begin = time;
sub add {
	my ($sock, %who) = @_;
	$is{$sock} = { sock => $sock, buffer => '', %who };
	$select->add($sock);
	return $is{$sock};
}
add($server{u}, name => 'server', udp => 1);
add($server{t}, name => 'listener');
sub speak {
	my ($who, $bytes, $to) = @_;
	$who->{udp} ? $who->{name} eq 'server' ? send($who->{sock}, $bytes, 0, $to) : $who->{sock}->send($bytes)
		: syswrite $who->{sock}, $bytes;
}
sub hears {
	my ($who, $message, $from) = @_;
	push @{ $heard{ $who->{name} }{ field($message, 'Call-ID') } }, [ time, $message ];
	return served($who, $message, $from) if $who->{name} eq 'server';
	my ($id, $way) = (field($message, 'Call-ID'), $who->{name});
	# Who acknowledges does so once.
	speak($who, request('ACK', id => $id, branch => "z9hG4bK-$id-INVITE-1", to => ';tag=server'))
		if $message =~ m{^SIP/2\.0 [3-6]} && field($message, 'CSeq') =~ /INVITE/ && $id !~ /^silent/;
}
# One turn: what is there now.
sub turn {
	my $now = time;
	my @due = grep { $_->[0] <= $now } @later;
	@later = grep { $_->[0] > $now } @later;
	$_->[1]->() for @due;
	for my $sock ($select->can_read(0.05)) {
		my $who = $is{$sock};
		if ($who->{name} eq 'listener') {
			add(scalar $sock->accept, name => 'server');
		} elsif ($who->{udp}) {
			my $from = recv $sock, my $bytes, 65536, 0;
			hears($who, $bytes, $from) if length $bytes;
		} elsif (sysread $sock, $who->{buffer}, 65536, length $who->{buffer}) {
			hears($who, $_) for messages(\$who->{buffer});
		} else {
			$select->remove($sock);
		}
	}
}

# ---- servers: what they do is in the first word of the Call-ID ----

my %invite;
sub served {
	my ($who, $message, $from) = @_;
	my ($method) = $message =~ /^(\w+)/;
	my $id = field($message, 'Call-ID');
	my $says = sub { speak($who, response($message, @_), $from) };
	my ($does) = $id =~ /^(\w+)/;
	if ($method eq 'INVITE') {
		$says->(180, 'Ringing') if $does =~ /^(?:ring|deaf|stubborn)$/;
		$says->(486, 'Busy') if $does =~ /^(?:busy|silent)$/;
		$says->(200, 'OK') if $does eq 'taken';
		return if $invite{$id};
		$invite{$id} = $message;
		# It rings again and again, and is answered in the end.
		if ($does eq 'rings') {
			my $at = time;
			push @later, [ $at + $_, sub { $says->(180, 'Ringing') } ] for 0 .. 7;
			push @later, [ $at + 8, sub { $says->(200, 'OK') } ];
		}
	} elsif ($method eq 'CANCEL') {
		$says->(200, 'OK') if $does =~ /^(?:ring|stubborn)$/;
		speak($who, response($invite{$id}, 487, 'Request Terminated'), $from) if $does eq 'ring';
	} elsif ($method ne 'ACK' && $does eq 'trying') {
		$says->(100, 'Trying');
	}
}

# ---- clients: one for each way ----

my %client = map { my $way = $_; my $udp = $way =~ /^u/ ? 1 : 0;
	$way => add(IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $sy->port($way), Proto => $udp ? 'udp' : 'tcp'),
		name => $way, udp => $udp) } @ways;
sub asks {
	my ($method, @does) = @_;
	for my $does (@does) {
		for my $way (@ways) {
			$asked{"$does-$way"} = time;
			speak($client{$way}, request($method, id => "$does-$way"));
			turn();
		}
	}
}
asks('OPTIONS', qw(mute trying));
asks('INVITE', qw(quiet ring deaf stubborn rings busy silent taken));
# One over UDP that has its ACK: its session need not wait for 32 s.
my $acked = add(IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $sy->port('uu'), Proto => 'udp'), name => 'acked', udp => 1);
speak($acked, request('INVITE', id => 'taken-and-acked'));
my ($said_ack, $acked_left);
sub sessions { my $at = '127.0.0.1:' . $acked->{sock}->sockport; return grep { $_->{parent} && $_->{client} eq $at } @{ $sy->api('GET', '/v1/connections')->{connections} } }
# Silence is over after 32 s, and 36 s after it has rung; then a while, in which nothing more may come.
sub has_final { my ($way, $id) = @_; return grep { $_->[1] =~ m{^SIP/2\.0 [2-6]} && $_->[1] !~ /CSeq: 1 CANCEL/ } @{ $heard{$way}{$id} || [] } }
my @slow = map { my $way = $_; map { [ $way, "$_-$way" ] } qw(mute trying quiet deaf stubborn) } @ways;
my $quiet = 0;
while (time < $begin + 150) {
	turn();
	if (!$said_ack && $heard{acked}{'taken-and-acked'} && grep { $_->[1] =~ / 200 / } @{ $heard{acked}{'taken-and-acked'} }) {
		speak($acked, request('ACK', id => 'taken-and-acked', to => ';tag=server'));
		$said_ack = time;
	}
	$acked_left = () = sessions() if !defined $acked_left && $said_ack && time > $said_ack + 20;
	$quiet ||= time if !grep { !has_final(@$_) } @slow;
	last if $quiet && time > $quiet + 1 && time > $begin + 37;
}

# ---- what was heard ----

# Status of the final answer, and how long it took.
sub final {
	my ($way, $does) = @_;
	my ($first) = has_final($way, "$does-$way");
	return $first ? ($first->[1] =~ m{^SIP/2\.0 (\d+)}, $first->[0] - $asked{"$does-$way"}) : (0, 0);
}
sub at_server {
	my ($way, $does, $method) = @_;
	return grep { $_->[1] =~ /^$method / } @{ $heard{server}{"$does-$way"} || [] };
}
sub is_late {
	my ($way, $does, $after, $what) = @_;
	my ($status, $when) = final($way, $does);
	ok($status == 408 && $when >= $after - 1.5 && $when <= $after + 50, sprintf '%s: 408 after %d s (%d, %.1f s)', $what, $after, $status, $when);
}
for my $way (@ways) {
	my ($from, $to) = map { $_ eq 'u' ? 'UDP' : 'TCP' } split //, $way;
	subtest "from $from to $to" => sub {
		is_late($way, 'mute', 32, 'Timer F, a request that nobody answers');
		is_late($way, 'trying', 32, 'also when a 100 has come');
		is_late($way, 'quiet', 32, 'Timer B, an INVITE that nobody answers');
		my $first = (at_server($way, 'quiet', 'INVITE'))[0][1];
		my @quiet = at_server($way, 'quiet', 'INVITE');
		my @mute = at_server($way, 'mute', 'OPTIONS');
		is(scalar(grep { $_->[1] ne $first } @quiet), 0, 'it is always the same');
		if ($to eq 'UDP') {
			ok(@quiet >= 5 && @quiet <= 7, 'Timer A: said ' . @quiet . ' times of 7');
			ok(@mute >= 8 && @mute <= 11, 'Timer E: said ' . @mute . ' times of 11');
		} else {
			is(@quiet + @mute, 2, 'each was said once');
		}
		is(scalar at_server($way, 'quiet', 'CANCEL'), 0, 'without a word of the server there is nothing to cancel');

		my ($status, $when) = final($way, 'ring');
		ok($status == 487 && $when >= 3.5 && $when <= 28, sprintf 'Timer C: who rings for too long is cancelled (%d, %.1f s)', $status, $when);
		my @cancel = at_server($way, 'ring', 'CANCEL');
		is(($cancel[0][1] =~ /branch=([^;\r]+)/)[0], ((at_server($way, 'ring', 'INVITE'))[0][1] =~ /branch=([^;\r]+)/)[0], 'with the branch of its INVITE');
		is(scalar at_server($way, 'ring', 'ACK'), 1, 'its failure gets our ACK');
		is_late($way, 'deaf', 36, 'a server that does not hear the CANCEL');
		is_late($way, 'stubborn', 36, 'one that hears it, and does not end the call');
		is(scalar at_server($way, 'stubborn', 'CANCEL'), 1, 'a CANCEL that is answered is said once');
		my $deaf = at_server($way, 'deaf', 'CANCEL');
		$to eq 'UDP' ? ok($deaf >= 8 && $deaf <= 11, "one that is not is said again, $deaf times of 11") : is($deaf, 1, 'over TCP always');
		($status, $when) = final($way, 'rings');
		ok($status == 200 && $when >= 7, sprintf 'each time that it rings it gets more time (%d, %.1f s)', $status, $when);
		is(scalar at_server($way, 'rings', 'CANCEL'), 0, 'and it is not cancelled');

		my @busy = has_final($way, "busy-$way");
		is($busy[0][1] =~ m{^SIP/2\.0 486 } && @busy <= 2, 1, 'a failure that has its ACK is not said again');
		my @silent = map { $_->[0] - $asked{"silent-$way"} } has_final($way, "silent-$way");
		if ($from eq 'UDP') {
			ok(@silent >= 8 && @silent <= 12, 'Timer G: without an ACK it is, ' . @silent . ' times of 11');
			cmp_ok($silent[-1], '<', 34, sprintf 'Timer H: until 32 s are over (%.1f s)', $silent[-1]);
		} else {
			is(scalar @silent, 1, 'over TCP it never is');
		}
		is((final($way, 'taken'))[0], 200, 'a call is taken, and nobody says ACK');
		my ($service) = grep { $_->{name} eq $way } @{ $sy->api('GET', '/v1/services')->{services} };
		is($service->{figures}{unanswered}, 5, 'who never answered is counted');
		is($service->{figures}{transactions}, 0, 'and nothing is open');
	};
}
is($acked_left, 0, 'the session of a call that has its ACK ends when that cannot have been lost any more');
# Timers D, H, J and L are over, too: nothing is left of any request.
Steelyard::wait_for('the sessions of requests to end', sub {
	!grep { $_->{parent} } @{ $sy->api('GET', '/v1/connections')->{connections} };
});
pass('no session of a request is left');
is($sy->stop, 0, 'it ends well');
done_testing;
