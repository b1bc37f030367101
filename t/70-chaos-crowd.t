#!/usr/bin/env perl
# SIGKILL of each role under the load of a crowd, counted exactly: the connections of the worker that
# died are lost and no others, each client keeps its server, and the books are right afterwards.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Steelyard;
use Crowd qw(descriptors wait_for);
use IO::Select;
use IO::Socket::INET;

my $held = 120;
my @servers = map { Crowd::Server->new("s$_") } 1 .. 3;
my $sy = Steelyard->start("log-connections off;\npool p {\n"
	. join('', map { "\tserver s$_ 127.0.0.1:" . $servers[$_ - 1]->port . ";\n" } 1 .. 3) . <<'CONF');
}
virtual-service web {
	listen 127.0.0.1:0;
	pool p;
	persistence source { timeout 10m; }
	monitor tcp { interval 500ms; }
}
CONF
$sy->wait_up('web', "s$_") for 1 .. 3;
my $port = $sy->port('web');
my $crowd = Crowd->new("127.0.0.1:$port", hold => $held, every => 30, rate => 150, sources => 90, reopen => 1, late => 30_000);
$crowd->wait('the crowd', sub { $_[0]{held} == $held && $_[0]{new_ok} > 150 });

sub pids { return map { $_->{pid} } grep { $_->{pid} } @{ $sy->processes } }
# Held connections by worker: those that are there longer than any new one.
sub by_worker {
	my %n;
	$n{ $_->{worker} }++ for grep { $_->{age_ms} > 400 } @{ $sy->api('GET', '/v1/connections?limit=10000')->{connections} };
	return \%n;
}
sub successor {
	my ($role, $index, $old) = @_;
	return wait_for("a successor of $role", sub { my $new = eval { $sy->pid_of($role, $index) }; $new && $new != $old && $new });
}
sub settled {
	my $what = shift;
	my $r = $crowd->wait("$what: all to be held", sub { $_[0]{held} == $held });
	my $from = $r;
	return $crowd->wait("$what: exchanges", sub { $_[0]{exchanges} > $from->{exchanges} + 2 * $held && $_[0]{new_ok} > $from->{new_ok} + 50 });
}
my $before = settled('begin');
is($before->{lost} + $before->{new_failed} + $before->{moved}, 0, 'a crowd to which nothing has happened') or diag explain $before;

for my $role (qw(checker console)) {
	subtest "$role" => sub {
		my @others = grep { $_ != $sy->pid_of($role) } pids();
		for (1 .. 3) {
			my $pid = $sy->pid_of($role);
			kill 'KILL', $pid;
			successor($role, undef, $pid);
		}
		my $r = settled($role);
		is($r->{lost} - $before->{lost}, 0, 'no connection is lost');
		is($r->{new_failed} - $before->{new_failed}, 0, 'no new one fails') or diag $r->{words};
		is($r->{late} + $r->{wrong} + $r->{moved}, 0, 'nobody waits, nobody moves');
		is(scalar(grep { kill 0, $_ } @others), 3, 'the other processes are the same');
		$before = $r;
	};
}

for my $worker (0, 1) {
	subtest "worker $worker" => sub {
		settled('before');
		my $on = wait_for('those who stay to have been there for a while', sub {
			my $n = by_worker();
			$held == ($n->{0} // 0) + ($n->{1} // 0) && $n;
		});
		cmp_ok($on->{$worker}, '>', 0, "held: $on->{0} by worker 0, $on->{1} by worker 1");
		my @others = grep { $_ != $sy->pid_of('worker', $worker) } pids();
		my $pid = $sy->pid_of('worker', $worker);
		kill 'KILL', $pid;
		successor('worker', $worker, $pid);
		my $r = settled("worker $worker");
		is($r->{lost} - $before->{lost}, $on->{$worker}, 'its connections are lost, and no others');
		# Those whose one exchange it was just serving.
		cmp_ok($r->{new_failed} - $before->{new_failed}, '<=', 5, 'new ones: ' . ($r->{new_failed} - $before->{new_failed}) . ' were in its hands');
		is($r->{late} + $r->{wrong}, 0, 'nobody waits');
		is($r->{moved}, 0, 'each client still meets its own server');
		is(scalar(grep { kill 0, $_ } @others), 3, 'the other processes are the same');
		$before = $r;
	};
}

subtest 'all children at once, a hundred in the queues' => sub {
	my @pids = pids();
	my @workers = map { $_->{pid} } grep { $_->{role} eq 'worker' } @{ $sy->processes };
	kill 'STOP', @workers;
	my @queued = map { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) } 1 .. 100;
	my $mark = $crowd->report;
	kill 'KILL', @pids;
	print $_ "hello\n" for @queued;
	my $good = grep { IO::Select->new($_)->can_read(30) && (<$_> // '') =~ /^s\d: hello/ } @queued;
	is($good, 100, 'the hundred are served by the successors');
	wait_for('the console', sub { eval { 4 == pids() } });
	my $r = settled('all');
	is($r->{lost} - $before->{lost}, $held, 'all that was there is lost');
	cmp_ok($r->{new_failed} - $before->{new_failed}, '<=', 10, 'of the new ones those that were in their hands: '
		. ($r->{new_failed} - $before->{new_failed}));
	is($r->{moved}, 0, 'each client still meets its own server: the table has outlived everybody');
	my $used = $sy->api('GET', '/v1/persistence')->{used};
	cmp_ok($used, '>=', 90, "$used entries");
	$before = $r;
};

subtest 'the books' => sub {
	my $r = settled('books');
	my $web = $sy->api('GET', '/v1/services/web');
	my $good = $r->{opened} + $r->{new_ok} + 100;
	cmp_ok($web->{total}, '>=', $good, "total $web->{total}: each of the $good that were served is counted");
	cmp_ok($web->{total}, '<=', $good + $r->{new_failed} + $r->{refused} + $r->{pending} + 20, 'and not many more');
	my $n = 0;
	$n += $_->{total} for @{ $web->{servers} };
	cmp_ok(abs($n - $web->{total}), '<=', 10, 'the servers have as many between them');
	$crowd->stop;
	my $now = wait_for('nothing to be active', sub { my $s = $sy->api('GET', '/v1/services/web'); $s->{active} == 0 && $s });
	is_deeply([ map { $_->{active} } @{ $now->{servers} } ], [ 0, 0, 0 ], 'nothing counts as active that is not there');
	my $clients = 0;
	$clients += scalar @{ $sy->api('GET', '/v1/connections')->{connections} };
	is($clients, 0, 'nor is listed');
};

is($sy->stop, 0, 'it ends well');
done_testing;
