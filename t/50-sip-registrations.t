#!/usr/bin/env perl
# 20,000 users registered over 4,000 connections, as a pool of Front Ends has them: a reload, a drain
# and a new server cost none of them; the death of a worker costs those of that worker, and no other. In mode
# proxy the same with a tenth of it.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use IO::Select;
use IPC::Open2;
use Sip qw(lab);
use Steelyard;

my $build = Steelyard::build_dir();
my %connections = (connection => $ENV{STEELYARD_SIP_CONNECTIONS} || 4000, proxy => 400);
my $users = 5;
my $crowd;
END { kill 'KILL', $crowd->{pid} if $crowd }

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

# Two registrars.
my ($lab, @fe) = lab(qw(fe1 fe2));
is(@fe, 2, 'two registrars') or BAIL_OUT('the lab');

sub conf {
	my ($mode, @servers) = @_;
	return <<"CONF";
worker-connections 9000;
pool fe { @servers }
virtual-service sip { listen 127.0.0.1:0; protocol sip { mode $mode; } pool fe; scheduler round-robin; idle-timeout 30m; monitor off; }
CONF
}

sub holds {
	my ($mode) = @_;
	my $connections = $connections{$mode};
	my $one = "server fe1 127.0.0.1:$fe[0];";
	my $two = "server fe2 127.0.0.1:$fe[1];";
	my $sy = Steelyard->start(conf($mode, $one));
	$crowd = program("$build/t/helper-sip-crowd", $sy->port('sip'), $connections, $users);

	my $all = $connections * $users;
	my $figures = sub { (grep { $_->{name} eq 'sip' } @{ $sy->api('GET', '/v1/services')->{services} })[0]{figures} };
	is(answer($crowd), "registered $all connections $connections", "$all users over $connections connections");
	Steelyard::wait_for('the gauge', sub { $figures->()->{registrations} == $all });
	pass('that many are counted');

	for my $n (1 .. 3) {
		my ($ok, $text) = $sy->reload("# $n\n" . conf($mode, $one, $two));
		ok($ok, "reload $n, with another server") or diag $text;
	}
	is(answer($crowd, 'check'), "alive $connections dead 0 answered $all", 'reloads cost none');
	my $asked = sub { $sy->seat('sip', 'fe2')->{figures}{requests_register} // 0 };
	my $before = $asked->();
	is(($sy->ctl('drain', 'fe1'))[1], 0, 'their server is drained');
	is(answer($crowd, 'check'), "alive $connections dead 0 answered $all", 'which costs none');
	is($figures->()->{registrations}, $all, 'all are registered still');
	if ($mode eq 'proxy') {
		is($asked->() - $before, $all, 'the other server is asked instead');
		is($before, $all / 2, 'and was before, for half of it, as soon as it was there');
	} else {
		is($asked->(), 0, 'the other server is asked nothing: connections stay');
	}

	my ($victim) = map { $_->{pid} } grep { $_->{role} eq 'worker' } @{ $sy->processes };
	kill 'KILL', $victim;
	Steelyard::wait_for('the successor', sub {
		my @workers = grep { $_->{role} eq 'worker' } @{ $sy->processes };
		@workers == 2 && !grep { $_->{pid} == $victim } @workers;
	});
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
	undef $crowd;
	Steelyard::wait_for('the connections to end', sub { $figures->()->{registrations} == 0 });
	pass('and leaves nothing behind');
}

for my $mode (qw(connection proxy)) {
	subtest "mode $mode" => sub { holds($mode) };
}
done_testing;
