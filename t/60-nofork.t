#!/usr/bin/env perl
# No process is ever made by fork(): start, reload, a crash, a replaced checker, external programs of
# monitors, under strace. posix_spawn() shows as a clone that shares memory and waits (CLONE_VM and
# CLONE_VFORK); threads (CLONE_THREAD) are no processes.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Steelyard;
use IO::Socket::INET;

my $probe = `strace -f -e trace=execve true 2>&1`;
plan skip_all => 'strace cannot trace here: ' . ($probe =~ /([^\n]+)/ ? $1 : 'it is not installed')
	unless $? == 0 && $probe =~ /execve/;

my $s1 = Steelyard->server('s1');
my $dir = File::Temp::tempdir('steelyard-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $dir;
my $program = "$dir/check";
open my $out, '>', $program or die;
print $out "#!/bin/sh\nexit 0\n";
close $out;
chmod 0755, $program;
my $trace = "$dir/trace";
my $conf = 'pool p { server s1 127.0.0.1:' . $s1->port . "; }\n"
	. "virtual-service web { listen 127.0.0.1:0; pool p; monitor exec { command $program; interval 300ms; } }\n";
my $sy = Steelyard->start($conf, wrap => [ 'strace', '-D', '-f', '-q', '-o', $trace,
	'-e', 'trace=clone,clone3,fork,vfork', '-e', 'signal=none' ],
	env => { ASAN_OPTIONS => 'detect_leaks=0' }); # the leak checker traces, too, and cannot here
sub works {
	my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $sy->port('web'), Timeout => 20) or return 0;
	print $sock "hello\n";
	return (<$sock> // '') =~ /^s1: hello/;
}
$sy->wait_up('web', 's1');
ok(works(), 'it serves, and an external program has judged the server');
my ($ok, $text) = $sy->reload;
ok($ok, 'a reload') or diag $text;
for my $role (qw(worker checker console)) {
	my $pid = $sy->pid_of($role);
	kill 'KILL', $pid;
	Steelyard::wait_for("another $role", sub { my $new = eval { $sy->pid_of($role) }; $new && $new != $pid });
	pass("a $role was killed and replaced");
}
ok(works(), 'it serves');
($ok, $text) = $sy->reload('nonsense;');
ok(!$ok, 'a refused reload');
is($sy->stop, 0, 'it ends well');

my (%kind, @bad, %execs);
Steelyard::wait_for('the trace to be whole', sub { -s $trace });
open my $in, '<', $trace or die;
while (my $line = <$in>) {
	# The second half of an interrupted call says nothing new.
	next if $line !~ /^\d+\s+(clone3?|fork|vfork)\(/;
	my ($call) = ($1);
	if ($line =~ /CLONE_THREAD/) {
		$kind{thread}++;
	} elsif ($line =~ /^\d+\s+clone3?\(.*CLONE_VM\|CLONE_VFORK/) {
		my ($pid) = $line =~ /^(\d+)/;
		$kind{spawn}++;
		$execs{$pid}++;
	} else {
		push @bad, $line;
	}
}
is("@bad", '', 'no fork, no vfork, no clone of a running process');
cmp_ok($kind{spawn} // 0, '>=', 10, 'processes were spawned: ' . ($kind{spawn} // 0));
cmp_ok(scalar keys %execs, '>=', 2, 'by the master, and by the checker for its programs');
diag sprintf '%d spawned by %d processes, %d threads', $kind{spawn}, scalar keys %execs, $kind{thread} // 0;
done_testing;
