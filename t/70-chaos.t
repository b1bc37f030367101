#!/usr/bin/env perl
# SIGKILL and SIGSTOP for each role, under load; what crashes again and again; the master's own death.
# Afterwards the invariants: only what the dead one held is lost, nothing queued is, counts stay right.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Steelyard;
use IO::Select;
use IO::Socket::INET;
use POSIX ();
use Time::HiRes qw(time);

my $s1 = Steelyard->server('s1');
my $s2 = Steelyard->server('s2');
sub pool { 'pool p { server s1 127.0.0.1:' . $s1->port . '; server s2 127.0.0.1:' . $s2->port . "; }\n" }
my $base = pool() . "virtual-service web { listen 127.0.0.1:0; pool p; persistence source { timeout 10m; }\n"
	. "monitor tcp { interval 200ms; rise 1; fall 1; } }\n";

sub client { return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $_[0], Timeout => 10) }
sub works {
	my $sock = shift or return 0;
	local $SIG{PIPE} = 'IGNORE';
	print $sock "hello\n" or return 0;
	IO::Select->new($sock)->can_read(20) or return 0;
	my $line = <$sock> // '';
	return $line =~ /^s\d: / ? 1 : 0;
}
sub pids { return map { $_->{pid} } grep { $_->{pid} && $_->{role} ne 'master' } @{ $_[0]->processes } }
sub gone {
	my @pids = @_;
	return eval { Steelyard::wait_for('children to leave', sub { !grep { kill 0, $_ } @pids }, 20) };
}
sub service { my ($found) = grep { $_->{name} eq 'web' } @{ $_[0]->api('GET', '/v1/services')->{services} }; return $found }

# Clients in a process of their own: connect, say hello, go; stops and tells when its input ends.
sub crowd {
	my $port = shift;
	pipe my $stop_read, my $stop or die;
	pipe my $result, my $result_write or die;
	my $pid = fork // die;
	if (!$pid) {
		close $stop;
		my ($good, $bad) = (0, 0);
		my $select = IO::Select->new($stop_read);
		while (!$select->can_read(0)) {
			works(client($port)) ? $good++ : $bad++;
		}
		syswrite $result_write, "$good $bad\n";
		POSIX::_exit(0);
	}
	close $stop_read;
	close $result_write;
	return sub {
		close $stop;
		my ($good, $bad) = split ' ', <$result> // '0 0';
		waitpid $pid, 0;
		return ($good, $bad);
	};
}

my $sy = Steelyard->start($base);
my $port = $sy->port('web');
$sy->wait_up('web', $_) for qw(s1 s2);

for my $role (qw(checker console worker)) {
	subtest "$role is killed under load" => sub {
		my @held = map { client($port) } 1 .. 24;
		is(scalar(grep { works($_) } @held), 24, 'connections that will be held');
		my $before = service($sy)->{total};
		my @which = $role eq 'worker' ? ($role, 0) : $role;
		my $old = $sy->pid_of(@which);
		my @others = grep { $_ != $old } pids($sy);
		my $stop = crowd($port);
		select undef, undef, undef, 0.2;
		for my $round (1 .. 3) {
			my $pid = $sy->pid_of(@which);
			kill 'KILL', $pid;
			Steelyard::wait_for('a successor', sub { my $new = $sy->pid_of(@which); $new && $new != $pid });
			select undef, undef, undef, 0.2;
		}
		my ($good, $bad) = $stop->();
		cmp_ok($good, '>', 20, "$good new connections meanwhile");
		my $alive = grep { works($_) } @held;
		if ($role eq 'worker') {
			cmp_ok($bad, '<=', 6, "at most those that a dead worker had in hand: $bad");
			cmp_ok($alive, '>', 0, "connections of the other worker live on: $alive");
			cmp_ok($alive, '<', 24, 'those of the dead one do not');
		} else {
			is($bad, 0, 'none of them failed');
			is($alive, 24, 'and every connection lives on');
		}
		is(scalar(grep { kill 0, $_ } @others), 3, 'the other processes are the same');
		close $_ for @held;
		my $web = Steelyard::wait_for('counts to settle', sub { my $w = service($sy); $w->{active} == 0 && $w });
		is($web->{active}, 0, 'nothing counts as active');
		cmp_ok($web->{total}, '>=', $before + $good, 'the total did not lose anything')
			if $role ne 'worker';
		cmp_ok(abs($web->{total} - $before - $good), '<=', 30, 'and the total is right but for what was in hand');
	};
}

subtest 'what is queued is not lost' => sub {
	my @workers = map { $_->{pid} } grep { $_->{role} eq 'worker' } @{ $sy->processes };
	kill 'STOP', @workers;
	my @queued = map { client($port) } 1 .. 40;
	print $_ "hello\n" for @queued;
	is(scalar @queued, 40, 'forty connections that nobody has accepted');
	kill 'KILL', @workers;
	my $good = grep { IO::Select->new($_)->can_read(20) && (<$_> // '') =~ /^s\d: hello/ } @queued;
	is($good, 40, 'both workers were killed, and all forty are served by their successors');
};

subtest 'persistence outlives everybody' => sub {
	my $conn = client($port);
	print $conn "hello\n";
	my ($where) = (<$conn> // '') =~ /^(s\d)/;
	# The master is in no hurry to replace a worker that has died this often.
	my $all = sub {
		my %not = map { $_ => 1 } @_;
		return Steelyard::wait_for('two workers, checker and console', sub {
			my @ready = grep { $_->{ready} && $_->{role} ne 'master' && !$not{ $_->{pid} } } eval { @{ $sy->processes } };
			return @ready == 4 && [map { $_->{pid} } @ready];
		});
	};
	my $old = $all->();
	kill 'KILL', @$old;
	$all->(@$old);
	my %there;
	for (1 .. 20) {
		my $next = client($port);
		print $next "hello\n";
		my ($at) = (<$next> // '') =~ /^(s\d)/;
		$there{ $at // 'nowhere' }++;
	}
	is_deeply(\%there, { $where => 20 }, "all children were killed; the client still goes to $where");
};

subtest 'a worker that hangs' => sub {
	my $pid = $sy->pid_of('worker', 0);
	my $checker = $sy->pid_of('checker');
	kill 'STOP', $pid, $checker;
	my $began = time;
	my ($answer, $status) = $sy->api('GET', '/v1/connections');
	cmp_ok(time - $began, '<', 9, 'a question to all is answered without it, in time');
	note "status $status: ", explain $answer;
	# Who hangs only when it is told of the new configuration could hang because of it.
	Steelyard::wait_for('beats to be late', sub {
		my %age = map { $_->{pid} => $_->{beat_age_ms} } @{ $sy->processes };
		return !grep { ($age{$_} // 2000) < 2000 } $pid, $checker;
	});
	my ($ok, $text) = $sy->reload;
	ok($ok, 'a reload meanwhile waits for their successors') or diag $text;
	$sy->wait_log(qr/worker 0 \(pid $pid\) is killed: no sign of life for \d+ s/);
	$sy->wait_log(qr/checker \(pid $checker\) is killed: no sign of life/);
	my $new = Steelyard::wait_for('a successor', sub { my $p = $sy->pid_of('worker', 0); $p && $p != $pid && $p });
	ok($new, 'is killed and replaced');
	is(scalar(grep { works(client($port)) } 1 .. 30), 30, 'all is well again');
};

# A worker that was taken over can say what it likes to the master.
subtest 'a child that talks nonsense' => sub {
	# struct control_record: type, flags, row, generation, id, value
	my $record = sub { pack 'S S L Q Q Q', $_[0], 0, 3, $_[1] // 0, $_[2] // 0, $_[3] // 0 };
	my @bad = (
		[ 'too short', 'short', qr/malformed record/ ],
		[ 'of no type', $record->(0), qr/record of type 0, which is not its to send/ ],
		[ 'of an unknown type', $record->(999), qr/record of type 999, which/ ],
		[ 'a command', $record->(13, 0, 1, 4), qr/record of type 13, which/ ],
		[ 'health', $record->(11, 0, 1, 1), qr/record of type 11, which/ ],
	);
	my @harmless = (
		[ 'ready again', $record->(1) ],
		[ 'bound, a generation that nobody has', $record->(3, 77) ],
		[ 'released, a generation that nobody has', $record->(6, 1 << 40) ],
		[ 'suspect, a cell far away', $record->(12, 0, 1 << 40) ],
		[ 'an answer to nothing', $record->(16, 0, 1 << 40) . 'x' x 16000 ],
	);
	my $master = $sy->{pid};
	my $control = sub {
		my $pidfd = syscall(434, shift, 0);          # pidfd_open
		my $fd = syscall(438, $pidfd, 3, 0);         # pidfd_getfd
		POSIX::close($pidfd) if $pidfd >= 0;
		return $fd;
	};
	my $fd = $control->($sy->pid_of('worker', 1));
	if ($fd < 0) {
		plan skip_all => 'not permitted to take a descriptor of another process';
		return;
	}
	for my $case (@harmless) {
		POSIX::write($fd, $case->[1], length $case->[1]);
		ok(works(client($port)), "$case->[0]: nothing happens");
	}
	POSIX::close($fd);
	for my $case (@bad) {
		my $pid = $sy->pid_of('worker', 1);
		$fd = $control->($pid);
		POSIX::write($fd, $case->[1], length $case->[1]);
		POSIX::close($fd);
		ok($sy->wait_log(qr/worker 1 \(pid $pid\) is killed: it sent a $case->[2]/), "$case->[0]: it is killed");
		Steelyard::wait_for('a successor', sub { my $new = $sy->pid_of('worker', 1); $new && $new != $pid });
	}
	is(scalar(grep { works(client($port)) } 1 .. 30), 30, 'all is well again');
	ok($sy->alive && $sy->{pid} == $master, 'the master lives');
};

# A module that can be told to crash workers when they bind a configuration.
sub crash_module {
	my ($dir, $flag) = @_;
	open my $out, '>', "$dir/crash.c" or die;
	print $out <<'C';
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
#include "api/scheduler.h"
struct crash_conf { uint32_t dummy; };
static const struct sy_row crash_rows[] = {
	SY_ROW(struct crash_conf, dummy, "dummy", .preset = "0", .max = 1, .doc = "Nothing."), SY_ROW_END
};
static int
crash_check(void *conf, struct sy_err *err)
{
	char name[16] = "";

	(void)conf, (void)err;
	prctl(PR_GET_NAME, name);
	if (strncmp(name, "sy:worker", 9) == 0 && access(FLAG, F_OK) == 0)
		abort();
	return 0;
}
static int
crash_pick(const void *conf, const struct sy_set *set, const void *table, const struct sy_draw *draw)
{
	(void)conf, (void)table, (void)draw;
	for (uint32_t i = 0; i < set->n; i++)
		if (!set->server[i].busy)
			return (int)i;
	return -1;
}
static const struct sy_scheduler crash_ops = { .size = sizeof(crash_ops), .pick = crash_pick };
SY_MODULE(SY_SCHEDULER, "crash", .version = "1", .summary = "Crashes.", .conf_size = sizeof(struct crash_conf),
          .rows = crash_rows, .check = crash_check, .ops = &crash_ops);
C
	close $out;
	system('cp', '-r', Steelyard::modules(), "$dir/modules") == 0 or die;
	system($ENV{CC} || 'cc', '-shared', '-fPIC', '-fvisibility=hidden', "-DFLAG=\"$flag\"",
		'-I' . Steelyard::src_dir() . '/core', '-I' . Steelyard::build_dir() . '/core',
		"$dir/crash.c", '-o', "$dir/modules/scheduler/crash.so") == 0 or die 'cc failed';
	system('chmod', '-R', 'go-w', "$dir/modules");
	return "$dir/modules";
}

my $dir = File::Temp::tempdir('steelyard-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $dir;
my $flag = "$dir/crash-now";
my $modules = crash_module($dir, $flag);
(my $crashing = $base) =~ s/persistence/scheduler crash; persistence/;
sub touch { open my $out, '>', $_[0] or die "$_[0]: $!" }

subtest 'a configuration that kills who binds it' => sub {
	my $own = Steelyard->start($base, modules => $modules);
	my $p = $own->port('web');
	touch($flag);
	my ($ok, $text) = $own->reload($crashing);
	ok(!$ok, 'the reload is refused');
	like($text, qr/worker \d died while it bound/, 'with the reason');
	Steelyard::wait_for('successors', sub { (() = $own->log_text =~ /worker \d is ready/g) >= 1 });
	is(scalar(grep { works(client($p)) } 1 .. 20), 20, 'successors serve the old one');
	unlink $flag;
	($ok, $text) = $own->reload($crashing);
	ok($ok, 'when it does not crash it is taken') or diag $text;
	is(scalar(grep { works(client($p)) } 1 .. 20), 20, 'and serves');
	is($own->stop, 0, 'it ends well');
};

subtest 'a worker that cannot start again' => sub {
	my $own = Steelyard->start($crashing, modules => $modules);
	my $p = $own->port('web');
	touch($flag);
	my $began = time;
	kill 'KILL', $own->pid_of('worker', 1);
	$own->wait_log(qr/worker 1: failed before it was ready \(1 in a row\): next try in 1 s/);
	is(scalar(grep { works(client($p)) } 1 .. 30), 30, 'the other worker serves its clients meanwhile');
	$own->wait_log(qr/worker 1: failed before it was ready \(2 in a row\): next try in 2 s/);
	$own->wait_log(qr/worker 1: failed before it was ready \(3 in a row\): next try in 4 s/);
	cmp_ok(time - $began, '>', 2.5, 'the tries are throttled');
	is(scalar(grep { works(client($p)) } 1 .. 30), 30, 'still served');
	unlink $flag;
	$own->wait_log(qr/worker 1 is ready/);
	is(scalar(grep { works(client($p)) } 1 .. 30), 30, 'it comes back by itself');
	is($own->stop, 0, 'it ends well');
};

subtest 'the first start crashes' => sub {
	touch($flag);
	my $own = Steelyard->start($crashing, modules => $modules, fail => 1);
	isnt($own->{status}, 0, 'exit status');
	like($own->log_text, qr/worker \d \(pid \d+\) ended: killed by signal 6/, 'the reason');
	ok(!-e $own->{control}, 'no control socket is left');
	unlink $flag;
};

subtest 'last words' => sub {
	my $pid = $sy->pid_of('worker', 1);
	kill 'ILL', $pid; # a sanitizer keeps its hands off this one
	$sy->wait_log(qr/worker 1 \(pid $pid\) ended: killed by signal 4.*last words: killed by SIGILL/);
	pass('the master prints what a dying process wrote');
};

subtest 'the master is killed' => sub {
	my $conn = client($port);
	ok(works($conn), 'a connection');
	my @pids = pids($sy);
	my @workers = map { $_->{pid} } grep { $_->{role} eq 'worker' } @{ $sy->processes };
	my %worker = map { $_ => 1 } @workers;
	kill 'KILL', $sy->{pid};
	waitpid $sy->{pid}, 0;
	$sy->{status} = 9;
	ok(gone(grep { !$worker{$_} } @pids), 'checker and console leave');
	Steelyard::wait_for('the address to refuse', sub { !client($port) });
	ok(works($conn), 'the connection lives on');
	close $conn;
	ok(gone(@workers), 'workers leave with their last connection');
};

done_testing;
