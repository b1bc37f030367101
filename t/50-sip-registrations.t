#!/usr/bin/env perl
# 20,000 users registered over 4,000 connections, as a pool of Front Ends has them: a reload, a drain
# and a new server cost none of them; the death of a worker costs those of that worker, and no other.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use File::Temp qw(tempdir);
use IO::Select;
use IPC::Open2;
use Steelyard;

my $build = Steelyard::build_dir();
my $dir = tempdir('registrations-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $connections = $ENV{STEELYARD_SIP_CONNECTIONS} || 4000;
my $users = 5;

# A program of ours with a line of output for each line of input.
sub program {
	my (@cmd) = @_;
	my $pid = open2(my $out, my $in, @cmd);
	return { pid => $pid, in => $in, out => $out };
}

sub answer {
	my ($program, $command) = @_;
	syswrite $program->{in}, "$command\n" if $command;
	my $line = '';
	while ($line !~ /\n\z/) {
		IO::Select->new($program->{out})->can_read(3 * $Steelyard::LIMIT) or return "$line<late>";
		sysread $program->{out}, $line, 1, length $line or return "$line<end>";
	}
	return $line =~ s/\n\z//r;
}

# Two registrars; the lab says where they are.
pipe my $ready, my $tell or die $!;
my $lab = fork // die $!;
if (!$lab) {
	Steelyard::die_with_parent();
	close $ready;
	require Fcntl;
	fcntl $tell, Fcntl::F_SETFD(), 0;
	exec "$build/contrib/lab/lab-server", '--ready-fd', fileno $tell, '--control', "$dir/lab", '--with-parent',
		map { ("fe$_", '127.0.0.1', '0/tcp:sip') } 1 .. 2 or POSIX::_exit(127);
}
close $tell;
my $where = <$ready> // BAIL_OUT('the lab did not start');
my @fe = $where =~ /127\.0\.0\.1:(\d+)/g;
is(@fe, 2, 'two registrars') or BAIL_OUT($where);

sub conf {
	return "pool fe { @_ }\n" . <<'CONF';
virtual-service sip { listen 127.0.0.1:0; protocol sip { mode connection; } pool fe; scheduler round-robin; idle-timeout 30m; monitor off; }
CONF
}
my $one = "server fe1 127.0.0.1:$fe[0];";
my $sy = Steelyard->start("worker-connections 9000;\n" . conf($one));
my $crowd = program("$build/t/helper-sip-crowd", $sy->port('sip'), $connections, $users);
END { kill 'KILL', grep { $_ } $crowd && $crowd->{pid}, $lab if defined $lab && $lab }

my $all = $connections * $users;
my $figures = sub { (grep { $_->{name} eq 'sip' } @{ $sy->api('GET', '/v1/services')->{services} })[0]{figures} };
is(answer($crowd), "registered $all connections $connections", "$all users over $connections connections");
Steelyard::wait_for('the gauge', sub { $figures->()->{registrations} == $all });
pass('that many are counted');

for my $n (1 .. 3) {
	my ($ok, $text) = $sy->reload("worker-connections 9000;\n# $n\n" . conf($one, "server fe2 127.0.0.1:$fe[1];"));
	ok($ok, "reload $n, with another server") or diag $text;
}
is(answer($crowd, 'check'), "alive $connections dead 0 answered $all", 'reloads cost none');
is(($sy->ctl('drain', 'fe1'))[1], 0, 'their server is drained');
is(answer($crowd, 'check'), "alive $connections dead 0 answered $all", 'which costs none');
is($figures->()->{registrations}, $all, 'all are registered still');

my ($victim) = map { $_->{pid} } grep { $_->{role} eq 'worker' } @{ $sy->processes };
my $half = $figures->()->{registrations};
kill 'KILL', $victim;
Steelyard::wait_for('the successor', sub { my $pid = $sy->pid_of('worker'); $pid && (grep { $_->{role} eq 'worker' && $_->{state} ne 'starting' } @{ $sy->processes }) == 2 && !grep { $_->{pid} == $victim } @{ $sy->processes } });
my ($alive, $dead, $answered) = answer($crowd, 'check') =~ /^alive (\d+) dead (\d+) answered (\d+)$/;
ok($alive && $dead && $alive + $dead == $connections, "a worker dies: $dead connections with it, $alive live on");
is($answered, $alive * $users, 'and their users can register');
Steelyard::wait_for('the gauge to fall', sub { $figures->()->{registrations} == $alive * $users });
pass('what the dead one had is not counted any more');
is(answer($crowd, 'again'), "registered @{[ $dead * $users ]} connections $connections", 'the others come back');
Steelyard::wait_for('the gauge to rise', sub { $figures->()->{registrations} == $all });
is($figures->()->{refused}, 0, 'nothing was refused');
close $crowd->{in};
waitpid $crowd->{pid}, 0;
is($?, 0, 'the crowd is content');
Steelyard::wait_for('the connections to end', sub { $figures->()->{registrations} == 0 });
pass('and leaves nothing behind');
done_testing;
