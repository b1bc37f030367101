#!/usr/bin/env perl
# The schedulers in the daemon, with several workers: what a scheduler knows of loads is exact over all of
# them, weights and slow start arrive, explain says what the pick says.
use strict;
use warnings;
use Test::More;
use FindBin;
use lib "$FindBin::Bin/lib";
use IO::Socket::INET;
use List::Util qw(min max sum);
use Time::HiRes qw(sleep time);
use Steelyard;

my %server = map { $_ => Steelyard->server($_, greet => 1) } qw(a b c d);
my %line = map { $_ => "server $_ 127.0.0.1:" . $server{$_}->port } keys %server;

# A server that takes its time before it says anything.
$server{slow} = Steelyard->server('slow', on => sub {
	my $conn = shift;
	sleep 0.05;
	syswrite $conn, "hello slow " . $conn->peerhost . ':' . $conn->peerport . "\n";
});

my $monitor = 'monitor tcp { interval 100ms; fall 1; rise 1; }';
sub conf {
	my %add = @_;
	return <<"CONF" . ($add{more} // '');
workers 3;
pool equal { $line{a}; $line{b}; $line{c}; $line{d}; }
pool weighted { $line{a} weight=100; $line{b} weight=200; $line{c} weight=300; }
pool main { $line{a} weight=100; $line{b} weight=50; $line{c} weight=50; }
pool starting { $line{a}; $line{b}; slow-start 12s; }
pool speeds { $line{a}; server slow 127.0.0.1:@{[ $server{slow}->port ]}; }
virtual-service least { listen 127.0.0.1:0; pool equal; scheduler least-connections; $monitor }
virtual-service least-weighted { listen 127.0.0.1:0; pool weighted; scheduler least-connections; $monitor }
virtual-service round { listen 127.0.0.1:0; pool weighted; scheduler round-robin; $monitor }
virtual-service priority { listen 127.0.0.1:0; pool main; scheduler priority; $monitor }
virtual-service hash { listen 127.0.0.1:0; pool equal; scheduler source-hash { table-size 4093; } $monitor }
virtual-service two { listen 127.0.0.1:0; pool equal; scheduler random-two; $monitor }
virtual-service response { listen 127.0.0.1:0; pool speeds; scheduler response-time { explore 0; } $monitor }
virtual-service slow { listen 127.0.0.1:0; pool starting; scheduler round-robin; $monitor }
CONF
}
my $sy = Steelyard->start(conf());
for my $service (qw(least least-weighted round priority hash two response slow)) {
	my $list = $sy->api('GET', '/v1/services')->{services};
	my ($found) = grep { $_->{name} eq $service } @$list;
	$sy->wait_up($service, $_->{name}) for @{ $found->{servers} };
}

my %port;
# Opens a connection and returns (socket, name of the server); (undef, '') when it was refused.
sub enter {
	my ($service, $from) = @_;
	$port{$service} //= $sy->port($service);
	my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port{$service},
		LocalAddr => $from // '127.0.0.1', Timeout => 20) or die "connect: $@";
	local $SIG{ALRM} = sub { die "no greeting of $service in time\n" };
	alarm 30;
	my $line = <$sock> // '';
	alarm 0;
	my ($name) = $line =~ /^hello (\w+)/;
	return ($sock, $name // '');
}

sub many {
	my ($service, $n, %opt) = @_;
	my (%count, @socks);
	for (1 .. $n) {
		my ($sock, $name) = enter($service, $opt{from});
		$count{$name}++;
		push @socks, [ $sock, $name ] if $opt{keep};
	}
	return (\%count, \@socks);
}

sub active {
	my ($service, $name) = @_;
	return $sy->seat($service, $name)->{active};
}

# ---- least connections ----
{
	my ($count, $socks) = many('least', 200, keep => 1);
	is_deeply($count, { map { $_ => 50 } qw(a b c d) },
		'least-connections over three workers: 200 connections, 50 each, exactly');
	my %of_worker = map { $_->{index} => $_->{connections} }
		grep { $_->{role} eq 'worker' } @{ $sy->processes };
	Steelyard::wait_for('all workers to have told their connections', sub {
		%of_worker = map { $_->{index} => $_->{connections} } grep { $_->{role} eq 'worker' } @{ $sy->processes };
		sum(values %of_worker) >= 200;
	});
	cmp_ok(min(values %of_worker), '>', 20, 'each of the workers has its part: ' . join ' ', values %of_worker);

	# Whatever ends: the next ones go where the least is left.
	srand 7;
	my %have = %$count;
	my $wrong = 0;
	for my $round (1 .. 15) {
		my @kept;
		for my $pair (@$socks) {
			if (rand() < 0.3) {
				$have{ $pair->[1] }--;
				close $pair->[0];
			} else {
				push @kept, $pair;
			}
		}
		$socks = \@kept;
		Steelyard::wait_for('what was closed to be gone', sub {
			my $left = 0;
			$left += abs(active('least', $_) - $have{$_}) for qw(a b c d);
			$left == 0;
		});
		for (1 .. 40) {
			my $least = min(@have{qw(a b c d)});
			my ($sock, $name) = enter('least');
			$wrong++ if $have{$name} != $least;
			$have{$name}++;
			push @$socks, [ $sock, $name ];
		}
	}
	is($wrong, 0, '600 more, while others end: each goes to one of the least loaded');
}
{
	my ($count, $socks) = many('least-weighted', 180, keep => 1);
	Steelyard::wait_for('the numbers', sub { active('least-weighted', 'c') == $count->{c} });
	is_deeply($count, { a => 30, b => 60, c => 90 }, 'weights 100 200 300: 30 60 90, exactly');
}

# ---- several clients at once, so that workers choose at the same moment ----
{
	my @pids;
	pipe my $in, my $out;
	for my $i (1 .. 4) {
		my $pid = fork // die "fork: $!";
		if (!$pid) {
			my @socks;
			for (1 .. 50) {
				my ($sock, $name) = enter('least');
				push @socks, $sock;
			}
			syswrite $out, "x";
			sleep 60;
			POSIX::_exit(0);
		}
		push @pids, $pid;
	}
	my $done = '';
	Steelyard::wait_for('four clients to have 50 connections each', sub {
		sysread $in, $done, 4, length $done;
		length $done == 4;
	});
	my @loads = map { active('least', $_) } qw(a b c d);
	is(sum(@loads), 200, 'four clients at once: 200 connections');
	cmp_ok(max(@loads) - min(@loads), '<=', 4, "and no herd: @loads");
	kill 'KILL', @pids;
	waitpid $_, 0 for @pids;
}

# ---- round-robin ----
{
	my ($count) = many('round', 600);
	for ([ a => 100 ], [ b => 200 ], [ c => 300 ]) {
		my ($name, $wanted) = @$_;
		cmp_ok(abs($count->{$name} - $wanted), '<=', 6, "round-robin: $name gets $count->{$name} of $wanted");
	}
}

# ---- random-two ----
{
	my ($count, $socks) = many('two', 200, keep => 1);
	my @loads = map { $count->{$_} // 0 } qw(a b c d);
	cmp_ok(max(@loads) - min(@loads), '<=', 10, "random-two: close to even (@loads)");
}

# ---- source-hash ----
{
	my %of;
	my %count;
	for my $i (1 .. 100) {
		my (undef, $name) = enter('hash', "127.0.1.$i");
		$of{$i} = $name;
		$count{$name}++;
	}
	cmp_ok(min(map { $count{$_} // 0 } qw(a b c d)), '>=', 10, 'source-hash: all have clients');
	my $same = grep { (enter('hash', "127.0.1.$_"))[1] eq $of{$_} } 1 .. 100;
	is($same, 100, 'each client comes to the same server again, through whatever worker');
	$sy->ctl('drain', 'd');
	Steelyard::wait_for('d to drain', sub { ($sy->seat('hash', 'd')->{state} // '') =~ /drain/ });
	my %now = map { $_ => (enter('hash', "127.0.1.$_"))[1] } 1 .. 100;
	is(scalar(grep { $now{$_} eq 'd' } 1 .. 100), 0, 'a drained server gets no new connections');
	my $moved = grep { $of{$_} ne 'd' && $now{$_} ne $of{$_} } 1 .. 100;
	cmp_ok($moved, '<=', 8, "of the others' clients few move ($moved of " . (100 - ($count{d} // 0)) . ')');
	$sy->ctl('enable', 'd');
	Steelyard::wait_for('d to be up', sub { $sy->seat('hash', 'd')->{state} eq 'up' });
	$same = grep { (enter('hash', "127.0.1.$_"))[1] eq $of{$_} } 1 .. 100;
	is($same, 100, 'it is enabled: everybody is where he was');
}

# ---- explain says what the pick says ----
for my $service (qw(least round priority hash two response)) {
	my $json = JSON::PP::decode_json(scalar $sy->ctl('--json', 'explain', $service, '--client', '127.0.1.5'));
	my ($chosen) = grep { $_->{chosen} } @{ $json->{servers} };
	ok($chosen, "explain $service: $chosen->{name}: $chosen->{why}");
	my @words = grep { $_->{why} } @{ $json->{servers} };
	is(scalar @words, scalar @{ $json->{servers} }, 'and there are words for each server');
}
{
	my (undef, $name) = enter('hash', '127.0.1.5');
	my $json = JSON::PP::decode_json(scalar $sy->ctl('--json', 'explain', 'hash', '--client', '127.0.1.5'));
	my ($chosen) = grep { $_->{chosen} } @{ $json->{servers} };
	is($chosen->{name}, $name, 'explain names the server that the client gets');
}

# ---- response time ----
{
	my ($count) = many('response', 60);
	cmp_ok($count->{slow} // 0, '<=', 6, 'response-time: a slow server is asked, and then left alone: '
		. ($count->{slow} // 0) . ' of 60');
	cmp_ok($sy->seat('response', 'slow')->{response_us}, '>', 40000, 'it is known to be slow');
}

# ---- priority ----
{
	my ($count) = many('priority', 30);
	is_deeply($count, { a => 30 }, 'priority: the highest weight takes all');
	$server{a}->kill;
	my (undef, $name) = enter('priority');
	like($name, qr/^[bc]$/, 'it dies: the next connection is served, before any check has said so');
	$sy->wait_down('priority', 'a');
	($count) = many('priority', 60);
	ok(!$count->{a} && $count->{b} > 10 && $count->{c} > 10, "the others share ($count->{b} and $count->{c})");
	$server{a}->again;
	$sy->wait_up('priority', 'a');
	($count) = many('priority', 30);
	is_deeply($count, { a => 30 }, 'it comes back, and takes all');
}

# ---- slow start ----
{
	$sy->wait_up('slow', 'a');
	my $begin = time;
	my ($count) = many('slow', 100);
	my $age = time - $begin;
	SKIP: {
		skip 'the machine was too slow to look at the beginning', 1 if $age > 2;
		cmp_ok($count->{a} // 0, '<=', 30, 'a server that came back is in slow start: '
			. ($count->{a} // 0) . ' of 100');
	}
	like(scalar $sy->ctl('explain', 'slow', '--client', '127.0.0.1'), qr/% in slow start/, 'explain says so');
	Steelyard::wait_for('the slow start to be over', sub {
		scalar $sy->ctl('explain', 'slow', '--client', '127.0.0.1') !~ /slow start/;
	});
	($count) = many('slow', 60);
	cmp_ok(abs($count->{a} - 30), '<=', 3, "after it, each gets half ($count->{a} of 60)");
}

is($sy->stop, 0, 'the daemon ends well');
done_testing;
