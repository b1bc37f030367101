#!/usr/bin/env perl
# Reloads, some of them broken, a changing number of workers, upgrades in place, and SIGKILL for whoever
# is hit, the loader included, all at the same time. Afterwards everything is as after a clean start.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Steelyard;
use IO::Select;
use IO::Socket::INET;
use Time::HiRes qw(time);

my $SECONDS = $ENV{STEELYARD_CHAOS_SECONDS} || 15;
my $seed = $ENV{STEELYARD_SEED} || int(time) % 100000;
srand $seed;
diag "STEELYARD_SEED=$seed";
my $s1 = Steelyard->server('s1');
my $s2 = Steelyard->server('s2');
sub conf {
	my ($n, $workers) = @_;
	my $conf = "workers $workers;\nlisten-slots 32;\nlog-connections off;\npool p { server s1 127.0.0.1:" . $s1->port
		. '; server s2 127.0.0.1:' . $s2->port . "; }\n"
		. "virtual-service web { listen 127.0.0.1:0; pool p; monitor tcp { interval 300ms; } }\n";
	$conf .= "virtual-service more$n { listen 127.0.0.1:0; pool p; monitor tcp { interval 1s; } }\n" if $n % 2;
	$conf .= "virtual-service broken { lisen 127.0.0.1:0; }\n" if $n % 7 == 3;
	return $conf;
}
my $sy = Steelyard->start(conf(0, 2));
my $port = $sy->port('web');
sub client { return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Timeout => 20) }
sub works {
	my $sock = shift or return 0;
	local $SIG{PIPE} = 'IGNORE';
	print $sock "hello\n" or return 0;
	IO::Select->new($sock)->can_read(20) or return 0;
	return (<$sock> // '') =~ /^s\d: / ? 1 : 0;
}
sub fds { my @all = glob "/proc/$_[0]/fd/*"; return scalar @all }
sub slurp { open my $in, '<', $_[0] or return ''; local $/; return <$in> // '' }
# Of the master, by the kernel: the console may be dead.
sub children {
	return map { { pid => $_, title => slurp("/proc/$_/cmdline") =~ s/\0.*//sr } }
		split ' ', slurp("/proc/$sy->{pid}/task/$sy->{pid}/children");
}
ok(works(client()), 'it serves');
my $fds = fds($sy->{pid});

my ($kills, $reloads, $upgrades, $tries, $refused) = (0, 0, 0, 0, 0);
my %killed;
my $end = time + $SECONDS;
my $n = 0;
while (time < $end && $sy->alive) {
	my $what = rand;
	if ($what < 0.35) {
		$sy->write_conf(conf(++$n, 1 + int rand 5));
		kill 'HUP', $sy->{pid};
		$reloads++;
	} elsif ($what < 0.40) {
		kill 'USR2', $sy->{pid};
		$upgrades++;
	} elsif ($what < 0.55) {
		my @all = children();
		if (@all) {
			my $victim = $all[rand @all];
			kill 'KILL', $victim->{pid};
			$killed{ $victim->{title} =~ /steelyard: (\w+)/ ? $1 : 'starting' }++;
			$kills++;
		}
	} else {
		my $conn = client();
		$tries++;
		# All workers may be dead at once; then it waits in the queue, and is not refused.
		$refused++ unless $conn;
	}
	select undef, undef, undef, rand 0.05;
}
ok($sy->alive, 'the master lives') or diag $sy->log_text;
diag sprintf '%d kills (%s), %d reloads, %d upgrades (%d done), %d connections', $kills,
	join(', ', map { "$killed{$_} $_" } sort keys %killed), $reloads, $upgrades, scalar(() = $sy->log_text =~ m{has taken over}g), $tries;
is($refused, 0, 'no client was refused');

# Until one is accepted: others may still be on their way, or wait for a throttled child.
my ($ok, $text);
Steelyard::wait_for('a clean reload', sub {
	$sy->write_conf(conf(0, 2));
	($ok, $text) = $sy->reload;
	$ok;
}, 120);
ok($ok, 'a reload to what it began with') or diag $text;
Steelyard::wait_for('four children, all ready', sub {
	my @all = eval { @{ $sy->processes } } or return 0;
	my @there = grep { $_->{pid} && $_->{role} ne 'master' } @all;
	@there == 4 && 4 == grep { ($_->{generations} // 0) == 1 } @there;
}, 120);
pass('four children, with one generation each');
# One that was killed, or has nothing left to do, may still be on its way out.
Steelyard::wait_for('no other process', sub { children() == 4 }, 60);
pass('and no other process');
is(scalar(grep { works(client()) } 1 .. 50), 50, 'fifty connections of fifty');
is($sy->port('web'), $port, 'the same address');
Steelyard::wait_for('descriptors', sub { fds($sy->{pid}) <= $fds + 8 }) or diag(`ls -l /proc/$sy->{pid}/fd`);
cmp_ok(fds($sy->{pid}), '<=', $fds + 8, "the master's descriptors: $fds at the start, now " . fds($sy->{pid}));
unlike($sy->log_text, qr/must\(|SIGSEGV|SIGBUS|killed by signal (?!9 )/, 'nobody died by itself')
	or diag join "\n", grep { /must\(|SIG(?:SEGV|BUS)|killed by signal (?!9 )/ } split /\n/, $sy->log_text;
is($sy->stop, 0, 'it ends well');
done_testing;
