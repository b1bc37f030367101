#!/usr/bin/env perl
# TURN with real servers: coturn behind Steelyard, turnutils_uclient and a client of our own before it.
# Allocations are known, stay where they are, and nothing that is no TURN goes through.
use strict;
use warnings;
use lib ($ENV{STEELYARD_SRC} || '.') . '/t/lib';
use File::Temp ();
use IO::Socket::IP;
use Steelyard;
use Test::More;
use Time::HiRes qw(time sleep);
use Turn;

plan skip_all => 'needs coturn' if system('command -v turnserver turnutils_uclient >/dev/null 2>&1');

# What peers hear, they say again.
my $echo_host = Turn::host();
my $echo = IO::Socket::IP->new(LocalHost => $echo_host, LocalPort => 0, Type => Socket::SOCK_DGRAM) or die $@;
my $echo_port = $echo->sockport;
my $echo_pid = fork // die "fork: $!";
if (!$echo_pid) {
	Steelyard::die_with_parent();
	while (1) {
		my $from = $echo->recv(my $said, 65536) // next;
		$echo->send($said, 0, $from);
	}
}
END {
	if ($echo_pid && $$ != $echo_pid) {
		local $?;
		kill 'KILL', $echo_pid;
		waitpid $echo_pid, 0;
	}
}

my %server = map { $_ => Turn::Server->new($_) } qw(one two);
my $servers = join ' ', map { "server $_ $server{$_}{host}:3478;" } sort keys %server;
my $conf = <<"CONF";
pool p { $servers }
virtual-service turn {
	listen 127.0.0.1:0/udp 127.0.0.1:0;
	protocol turn { unauthenticated-rate 100000; }
	pool p; scheduler least-connections; monitor off;
}
CONF
my $sy = Steelyard->start($conf);
my ($udp, $tcp) = ($sy->port('turn', 0), $sy->port('turn', 1));

sub service { (grep { $_->{name} eq 'turn' } @{ $sy->api('GET', '/v1/services')->{services} })[0] }
sub figures {
	my $name = shift;
	my $from = service();
	($from) = grep { $_->{name} eq $name } @{ $from->{servers} } if $name;
	return $from->{figures};
}
sub allocations { figures(@_)->{allocations} }
sub count_is {
	my ($n, $name) = @_;
	my $got = eval { Steelyard::wait_for('the count', sub { allocations() == $n }, 20); 1 };
	ok($got, $name) or diag 'there are ' . allocations();
}

subtest 'turnutils_uclient' => sub {
	for my $over (['UDP', $udp], ['TCP', $tcp, '-t']) {
		my ($name, $port, @more) = @$over;
		my $said = `turnutils_uclient -y -c -m 2 -n 10 -z 5 -u $Turn::USER -w $Turn::PASSWORD @more -p $port 127.0.0.1 2>&1`;
		like($said, qr/Total lost packets 0 /, "$name: what is relayed comes back") or diag $said;
	}
	my $got = figures();
	cmp_ok($got->{allocate_successes}, '>=', 4, 'the allocations were counted');
	cmp_ok($got->{channel_packets_up} + $got->{send_indications}, '>=', 20, 'and what was relayed');
	is($got->{"garbage_$_"}, 0, "nothing was taken for garbage: $_")
		for qw(length kind attributes fingerprint channel state);
};

# That client leaves without giving its allocations back.
$sy->stop;
$sy = Steelyard->start($conf);
($udp, $tcp) = ($sy->port('turn', 0), $sy->port('turn', 1));

subtest 'an allocation, from its beginning to its end' => sub {
	my $client = Turn::Client->new('127.0.0.1', $udp);
	my $got = $client->challenge;
	is($got->{error}, 401, 'the challenge comes through');
	is(allocations(), 0, 'no allocation yet');
	ok($client->allocate, 'Allocate succeeds');
	is(allocations(), 1, 'one allocation of the service');
	is(allocations('one') + allocations('two'), 1, 'and of one of the servers');
	ok($client->bind_channel($echo_host, $echo_port), 'a channel to a peer');
	ok($client->channel('hello'), 'what the peer says again comes back');
	ok($client->refresh(600), 'Refresh');
	is(allocations(), 1, 'still one');
	ok($client->refresh(0), 'Refresh 0');
	is(allocations(), 0, 'none');
	my $stream = Turn::Client->new('127.0.0.1', $tcp, tcp => 1);
	ok($stream->allocate && $stream->bind_channel($echo_host, $echo_port), 'over TCP');
	ok($stream->channel('x' x $_), "ChannelData of $_ bytes") for 1, 2, 3, 4, 1200;
	count_is(1, 'counted, too');
	close $stream->{sock};
	count_is(0, 'and over with the connection');
};

subtest 'shared out by allocations' => sub {
	my @clients = map { Turn::Client->new('127.0.0.1', $udp) } 1 .. 10;
	$_->allocate for @clients;
	is_deeply([map { allocations($_) } qw(one two)], [5, 5], 'least-connections counts allocations');
	$_->refresh(0) for @clients;
	count_is(0, 'given back');
};

subtest 'garbage' => sub {
	my $total = service()->{total};
	my $dropped = figures()->{garbage_kind};
	my $sock = IO::Socket::IP->new(PeerHost => '127.0.0.1', PeerPort => $udp, Type => Socket::SOCK_DGRAM);
	$sock->send($_) for "\x30hello", "\x80\xc8" . 'x' x 30, "\0\1\0\0" . 'x' x 16, pack 'nna3', 0x4000, 3, 'abc';
	Steelyard::wait_for('all to be dropped', sub { figures()->{garbage_kind} == $dropped + 3 });
	is(figures()->{garbage_state}, 1, 'ChannelData without an allocation is garbage, too');
	is(service()->{total}, $total, 'garbage makes no flow');
	my $stream = IO::Socket::IP->new(PeerHost => '127.0.0.1', PeerPort => $tcp) or die $@;
	print $stream "GET / HTTP/1.1\r\n\r\n";
	$stream->flush;
	is(sysread($stream, my $nothing, 100), 0, 'no HTTP here: the connection is closed');
	$sy->wait_log(qr/HTTP, and no `other http` says where that goes/);
};

# 200 allocations, each with a channel to the peer.
my @crowd;
subtest '200 allocations, and what happens to them' => sub {
	@crowd = map { Turn::Client->new('127.0.0.1', $udp) } 1 .. 200;
	my @failed = grep { !($_->allocate && $_->bind_channel($echo_host, $echo_port)) } @crowd;
	is(scalar @failed, 0, 'all allocated, all channels bound') or return;
	count_is(200, '200 are counted');
	my $media = sub {
		my $what = shift;
		my @lost = grep { !$crowd[$_]->channel("$what $_") } 0 .. $#crowd;
		is(scalar @lost, 0, "$what: media of all 200 come back") or diag "@lost";
	};
	my %ours = map { '127.0.0.1:' . $_->{sock}->sockport => 1 } @crowd;
	my $sources = sub {
		return { map { $_->{client} => $_->{source} } grep { $ours{ $_->{client} } }
			@{ $sy->api('GET', '/v1/connections')->{connections} } };
	};
	$media->('at first');
	my $before = $sources->();
	my ($ok, $text) = $sy->reload($conf . "pool another { server x 127.0.0.1:9; }\n");
	ok($ok, 'a reload') or diag $text;
	$media->('after a reload');
	is_deeply($sources->(), $before, 'from the same ports');
	count_is(200, 'and counted');
	for my $index (0, 1) {
		my $worker = $sy->pid_of('worker', $index);
		kill 'KILL', $worker;
		Steelyard::wait_for('its successor', sub {
			my $pid = $sy->pid_of('worker', $index);
			$pid && $pid != $worker && $sy->log_text =~ /worker $index.*\Q$pid\E|pid=$pid/;
		});
		$media->("after SIGKILL of worker $index");
	}
	my $after = $sources->();
	is_deeply([grep { ($after->{$_} // '') ne $before->{$_} } sort keys %$before], [],
		'each worker was killed, and the server has seen one address and port of each client')
		or diag join "\n", grep { /flow/ && !/end=operator/ } split /\n/, $sy->log_text;
	count_is(200, 'the successors count them again, by what is relayed');
	my @refused = grep { !$_->refresh(600) } @crowd;
	is(scalar @refused, 0, 'all can be refreshed');
};

subtest 'a server that drains' => sub {
	@crowd or plan skip_all => 'no allocations';
	my $early = Turn::Client->new('127.0.0.1', $udp);
	ok($early->binding, 'a client that has asked for its address only');
	my ($on) = map { $_->{server} } grep { $_->{client} =~ /:@{[ $early->{sock}->sockport ]}$/ }
		@{ $sy->api('GET', '/v1/connections')->{connections} };
	my $other = $on eq 'one' ? 'two' : 'one';
	my ($had, $has) = (allocations($on), allocations($other));
	$sy->ctl('drain', $on);
	my @new = map { Turn::Client->new('127.0.0.1', $udp) } 1 .. 10;
	is(scalar(grep { $_->allocate } @new), 10, 'ten new allocations');
	is(allocations($other), $has + 10, 'are made at the other server');
	ok($early->allocate, 'and so is that of the early client');
	is(allocations($other), $has + 11, 'which leaves the server that drains');
	is(allocations($on), $had, 'that one keeps what it has');
	my ($seat) = grep { $_->{name} eq $on } @{ service()->{servers} };
	is($seat->{load}, $had, 'the API says how many are left');
	cmp_ok(abs($seat->{until} / 1000 - time - 600), '<', 60, 'and that the last one ends in ten minutes at the latest');
	like($sy->ctl('services'), qr/$had allocations left, the last one ends in \S+.* at the latest/, 'steelyardctl services');
	like($sy->ctl('servers') =~ s/\s+/ /gr, qr/drain: $had allocations left/, 'steelyardctl servers');
	my @lost = grep { !($_->refresh(600) && $_->channel('still')) } @crowd;
	is(scalar @lost, 0, 'the 200 go on there: refreshes and media');
	$_->refresh(0) for @crowd, @new, $early;
	count_is(0, 'in the end none is left');
	($seat) = grep { $_->{name} eq $on } @{ service()->{servers} };
	is_deeply([@$seat{qw(load until)}], [0, 0], 'and the forecast says so');
	is($sy->ctl('enable', $on) =~ /error/i ? 1 : 0, 0, 'enabled again');
};

subtest 'reflection' => sub {
	my ($ok, $text) = $sy->reload($conf =~ s/unauthenticated-rate 100000/unauthenticated-rate 5/r);
	ok($ok, 'five questions without credentials a second') or diag $text;
	my @clients = map { Turn::Client->new('127.0.0.1', $udp, from => '127.0.0.1') } 1 .. 40;
	# What was asked before counts, too.
	my $first = Turn::Client->new('127.0.0.1', $udp, from => '127.0.0.1');
	Steelyard::wait_for('a question to be allowed', sub {
		$first->send_bytes(Turn::message(0x0003, Turn::tid(), Turn::attr(0x0019, pack 'Cx3', 17)));
		defined $first->receive(0.3);
	});
	$_->send_bytes(Turn::message(0x0003, Turn::tid(), Turn::attr(0x0019, pack 'Cx3', 17))) for @clients;
	my $answers = grep { defined $_->receive(0.05) } @clients;
	cmp_ok($answers, '<', 20, "of 40 questions $answers were answered");
};

$sy->stop;
done_testing();
