#!/usr/bin/env perl
# A thousand reloads while 64 connections exchange messages and new ones arrive: none fails, none
# closes, the processes are the same, memory stays flat after the first hundred.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Steelyard;
use IO::Select;
use IO::Socket::INET;
use Time::HiRes qw(time);

my $RELOADS = $ENV{STEELYARD_RELOADS} || 1000;
my $s1 = Steelyard->server('s1');
my $s2 = Steelyard->server('s2');

# Something changes each time: weights, a service that comes and goes, its name, its settings.
sub conf {
	my $n = shift;
	my $conf = 'pool p { server s1 127.0.0.1:' . $s1->port . ' weight=' . (50 + $n % 50)
		. '; server s2 127.0.0.1:' . $s2->port . "; }\n"
		. 'virtual-service web { listen 127.0.0.1:0; pool p; idle-timeout ' . (30 + $n % 7) . "m;\n"
		. "monitor tcp { interval 500ms; } persistence source { timeout 5m; } }\n";
	$conf .= "pool q$n { server s1 127.0.0.1:" . $s1->port . "; }\n"
		. "virtual-service more$n { listen 127.0.0.1:0; pool q$n; monitor tcp { interval 5s; } }\n"
		if $n % 3 == 0;
	return "log-connections off;\n$conf";
}

my $sy = Steelyard->start(conf(1));
my $port = $sy->port('web');
sub client { return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Timeout => 20) }
sub say_to { my ($sock, $words) = @_; return syswrite $sock, "$words\n" }
sub answered {
	my ($sock, $words) = @_;
	IO::Select->new($sock)->can_read(20) or return 0;
	my $line = <$sock> // '';
	return $line =~ /^s\d: \Q$words\E$/ ? 1 : 0;
}
sub memory {
	my $pid = shift;
	open my $in, '<', "/proc/$pid/smaps_rollup" or return undef;
	my %kb;
	while (my $line = <$in>) { $kb{$1} = $2 if $line =~ /^(\w+):\s+(\d+)/ }
	return $kb{Private_Dirty};
}
sub fds { my @all = glob "/proc/$_[0]/fd/*"; return scalar @all }
sub children { return map { "$_->{role}" . ($_->{index} // '') . "=$_->{pid}" } grep { $_->{pid} } @{ $sy->processes } }

my @conns = map { client() } 1 .. 64;
my $good = 0;
say_to($_, 'first') for @conns;
$good += answered($_, 'first') for @conns;
is($good, 64, '64 connections');
my $children = join ' ', sort(children());
my @watched = (master => $sy->{pid}, map { my $i = $_; ("worker $i" => $sy->pid_of('worker', $i)) } 0, 1);
push @watched, checker => $sy->pid_of('checker'), console => $sy->pid_of('console');
my %pid = @watched;
my (%early, %early_fds);

my ($failed_reloads, $failed_exchanges, $failed_new, $exchanges, $new) = (0, 0, 0, 0, 0);
my $began = time;
my $slowest = 0;
for my $n (1 .. $RELOADS) {
	$sy->write_conf(conf($n));
	say_to($_, "before $n") for @conns;
	my $start = time;
	my ($answer, $status) = $sy->api('POST', '/v1/reload');
	my $took = time - $start;
	$slowest = $took if $took > $slowest;
	$failed_reloads++, diag explain $answer if $status != 200;
	for (@conns) { answered($_, "before $n") ? $exchanges++ : $failed_exchanges++ }
	if ($n % 5 == 0) {
		my $fresh = client();
		$new++;
		($fresh && say_to($fresh, "new $n") && answered($fresh, "new $n")) or $failed_new++;
	}
	if ($n == 100) {
		$early{$_} = memory($pid{$_}), $early_fds{$_} = fds($pid{$_}) for keys %pid;
	}
	last if $failed_exchanges > 10 || $failed_reloads > 3;
}
my $took = time - $began;
is($failed_reloads, 0, "$RELOADS reloads");
is($failed_exchanges, 0, "$exchanges exchanges on the 64 connections");
is($failed_new, 0, "$new new connections");
is(join(' ', sort(children())), $children, 'the same processes');
is($sy->port('web'), $port, 'the same address');
diag sprintf '%d reloads in %.1f s (%.1f ms each with 64 exchanges, slowest reload %.0f ms)',
	$RELOADS, $took, 1000 * $took / $RELOADS, 1000 * $slowest;
if ($ENV{STEELYARD_SANITIZERS} || `nm -D @{[ Steelyard::steelyardd() ]} 2>/dev/null` =~ /__asan_/) {
	note 'built with sanitizers: memory is not compared';
} else {
	for (sort keys %pid) {
		my ($now, $fds) = (memory($pid{$_}), fds($pid{$_}));
		cmp_ok($now, '<=', $early{$_} + 256, "$_: private memory after reload 100 $early{$_} KiB, at the end $now KiB");
		cmp_ok($fds, '<=', $early_fds{$_} + 4, "$_: descriptors $early_fds{$_}, at the end $fds");
	}
}
# Each child holds one generation: all the others were let go.
Steelyard::wait_for('old generations to be released', sub {
	!grep { $_->{pid} && $_->{role} ne 'master' && ($_->{generations} // 0) > 1 + ($_->{role} eq 'worker') } @{ $sy->processes };
});
pass('old generations are gone, but for the one that the 64 connections began in');
close $_ for @conns;
Steelyard::wait_for('the first generation to go', sub {
	!grep { $_->{pid} && $_->{role} ne 'master' && ($_->{generations} // 0) > 1 } @{ $sy->processes };
});
pass('and that one, too, when they have ended');
is($sy->stop, 0, 'it ends well');
done_testing;
