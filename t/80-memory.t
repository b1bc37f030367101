#!/usr/bin/env perl
# What an idle pass-through connection costs the worker: 6,000 of them (or as many as the limit of
# descriptors allows), each of which has carried an exchange, and its proportional set before and
# after. Kernel memory is not in it.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Steelyard;
use Crowd qw(memory sanitized wait_for);

my $idle = $ENV{STEELYARD_IDLE} || 6000;
my $most = 1024;

plan skip_all => 'built with sanitizers: memory says nothing' if sanitized();
# Two descriptors each, in one process.
chomp(my $limit = `sh -c 'ulimit -Hn'`);
$idle = int(($limit - 1000) / 2) if $limit ne 'unlimited' && $limit < 2 * $idle + 1000;

my $server = Crowd::Server->new('s1');
my $sy = Steelyard->start(<<CONF);
workers 1;
pool p { server s1 127.0.0.1:@{[ $server->port ]}; }
virtual-service idle {
	listen 127.0.0.1:0;
	pool p;
	persistence source;
	monitor tcp { interval 500ms; }
}
CONF
$sy->wait_up('idle', 's1');
my $to = '127.0.0.1:' . $sy->port('idle');
my $worker = $sy->pid_of('worker');

sub settled { my $pid = shift; my $last = 0;
	wait_for('memory to settle', sub { my $now = memory($pid)->{own}; my $same = $now == $last; $last = $now; $same });
	return memory($pid);
}

# The worker has had its first connections: what it takes once is taken.
my $first = Crowd->new($to, hold => 50, every => 600_000);
$first->wait('the first ones', sub { $_[0]{held} == 50 });
$first->stop;
wait_for('the first ones to be gone', sub { $sy->api('GET', '/v1/status')->{active} == 0 });
my $before = settled($worker);

my $crowd = Crowd->new($to, hold => $idle, every => 600_000, late => 60_000);
my $report = $crowd->wait("$idle connections", sub { $_[0]{held} + $_[0]{refused} >= $idle });
is($report->{held}, $idle, "$idle connections, an exchange over each") or diag explain $report;
is($sy->api('GET', '/v1/status')->{active}, $idle, 'all of them are known');
my $after = settled($worker);
my $each = ($after->{own} - $before->{own}) * 1024 / $idle;
diag sprintf 'worker: own memory %d KiB with 0, %d KiB with %d connections: %.0f bytes each (at most %d; aim 600)',
	$before->{own}, $after->{own}, $idle, $each, $most;
cmp_ok($each, '<=', $most, "an idle connection costs at most $most bytes");
cmp_ok($each, '>', 0, 'and the measurement is not blind');

$crowd->stop;
wait_for('all to be gone', sub { $sy->api('GET', '/v1/status')->{active} == 0 });
my $end = settled($worker);
diag sprintf 'worker: own memory %d KiB when they have left', $end->{own};
cmp_ok($end->{own}, '<', $before->{own} + ($after->{own} - $before->{own}) / 4 + 512, 'memory goes back to the system');
is($sy->stop, 0, 'it ends well');
done_testing;
