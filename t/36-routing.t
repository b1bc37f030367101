#!/usr/bin/env perl
# manage-routing: what snat off needs on the balancer is made, kept and taken away by Steelyard. The test
# gives no ip or nft command for it; what is of others stays as it is.
use strict;
use warnings;
use lib ($ENV{STEELYARD_SRC} || '.') . '/t/lib';
use Farm;
use Routing;
use Steelyard;
use Test::More;

plan skip_all => 'needs root for network namespaces' if $> != 0;
plan skip_all => 'needs nft' if system('command -v nft >/dev/null 2>&1');
my $net = eval { Farm::Net->new(qw(client middle server)) } or plan skip_all => "needs network namespaces: $@";

$net->bridge('middle', 'cl', '10.79.1.1/24', 'fd79:1::1/64 nodad');
$net->bridge('middle', 'sv', '10.79.2.1/24', 'fd79:2::1/64 nodad');
$net->cable('client', 'middle', 'cl', '10.79.1.1', '10.79.1.2/24', 'fd79:1::2/64 nodad');
$net->cable('server', 'middle', 'sv', '10.79.2.1', '10.79.2.2/24', '10.79.2.3/24', 'fd79:2::2/64 nodad');
$net->do($_->[0], "ip -6 route add default via $_->[1]") for ['client', 'fd79:1::1'], ['server', 'fd79:2::1'];
my @servers = map { Routing::Server->new($net, 'server', $_, 7000) } '10.79.2.2', '10.79.2.3', 'fd79:2::2';

# Of others: a table with the same kind of chain, a rule with the same kind of match.
$net->do('middle', 'nft', "'add table inet other; add chain inet other p { type filter hook prerouting priority mangle; };"
	. " add rule inet other p ip saddr 10.0.0.9 meta mark set 5'");
$net->do('middle', 'ip rule add fwmark 5 lookup 99 priority 90');
$net->do('middle', 'ip route add local default dev lo table 99');

# What is there, as others see it; and ours: { rules, routes, servers }.
sub all_of_others {
	my @lines = map { $net->do('middle', $_) } 'nft list ruleset', 'ip rule', 'ip -6 rule', 'ip route show table all', 'ip -6 route show table all';
	# The kernel's own come when it likes.
	return join '', grep { !/fe80:|^multicast/ } split /^/, join '', map { s/^table inet steelyard-.*?^\}\n//msgr } @lines;
}
sub ours {
	my $n = shift // 21337;
	my %found;
	for my $family ('-4', '-6') {
		$found{rules} .= () = $net->do('middle', "ip $family rule") =~ /fwmark 0x\w+ lookup $n/g;
		$found{routes} .= () = $net->do('middle', "ip $family route show table all") =~ /^local default dev lo table $n /mg;
	}
	my $tables = join '', $net->do('middle', 'nft list ruleset') =~ /^table inet steelyard-$n \{.*?^\}\n/msg;
	$found{tables} = () = $tables =~ /^table /mg;
	$found{servers} = join ' ', sort map { split /[\s,]+/ } $tables =~ /set transparent\d \{.*?elements = \{ (.*?) \}/msg;
	return "$found{rules} $found{routes} $found{tables}: $found{servers}";
}
my $before = all_of_others();
is(ours(), '00 00 0: ', 'nothing is there at first');

my $pools = "pool four { server s 10.79.2.2:7000; }\npool six { server s [fd79:2::2]:7000; }\n";
my $four = "virtual-service four { listen 10.79.1.1:7000; pool four; snat off; monitor off; }\n"
	. "virtual-service four-udp { listen 10.79.1.1:7000/udp; protocol udp; pool four; snat off; monitor off; }\n";
my $six = "virtual-service six { listen [fd79:1::1]:7000; pool six; snat off; monitor off; }\n"
	. "virtual-service six-udp { listen [fd79:1::1]:7000/udp; protocol udp; pool six; snat off; monitor off; }\n";
my $second = "pool more { server t 10.79.2.3:7000; }\nvirtual-service more { listen 10.79.1.1:7001; pool more; snat off; monitor off; }\n";
my $on = "manage-routing on;\n";
my $sy = Steelyard->start("$on$pools$four$six", wrap => [$net->in('middle')]);

is(ours(), '11 11 1: 10.79.2.2 fd79:2::2', 'one rule, one route and one table of each kind');
for my $case (['10.79.1.1', '10.79.1.2'], ['fd79:1::1', 'fd79:1::2']) {
	my ($vip, $own) = @$case;
	is(Routing::ask($net, 'client', $_, $vip, 7000, $own, 40404), "$own 40404",
		"$own over $_: the server sees the client, and its answers come back") for qw(tcp udp);
}
my $pid = $sy->pid_of('routing');
ok($pid, 'a process of its own did it');
my $status = do { open my $in, '<', "/proc/$pid/status" or die $!; local $/; <$in> };
my ($nobody) = (getpwnam 'nobody')[2];
like($status, qr/^Uid:\t$nobody\t$nobody\t$nobody\t/m, 'without root');
is(join(' ', $status =~ /^Cap(?:Prm|Eff|Bnd):\t0*(\w+)/mg), '1000 1000 1000', 'and with CAP_NET_ADMIN alone');
unlike(do { open my $in, '<', "/proc/$pid/maps" or die $!; local $/; <$in> }, qr/steelyard-module|memfd:.*module/, 'no module is in it');

# ---- changes ----
my $held = Routing::hold($net, 'client', 'tcp', '10.79.1.1', 7000, '10.79.1.2', 40500);
my ($ok, $said) = $sy->reload("$on$pools$four$six$second");
ok($ok, 'a reload with a server more') or diag $said;
is(ours(), '11 11 1: 10.79.2.2 10.79.2.3 fd79:2::2', 'adds it');
is(Routing::ask($net, 'client', 'tcp', '10.79.1.1', 7001, '10.79.1.2', 40405), '10.79.1.2 40405', 'and it can be reached');
($ok, $said) = $sy->reload("$on$second");
ok($ok, 'one with fewer') or diag $said;
is($held->again, '10.79.1.2 40500', 'a connection of a service that went goes on');
like(ours(), qr/ 10\.79\.2\.2 /, 'and so its server is known');
undef $held;
Steelyard::wait_for('old servers to be forgotten', sub { ours() eq '10 10 1: 10.79.2.3' });
pass('they are forgotten with their last connection, and IPv6 with them');
($ok, $said) = $sy->reload("$on$pools$four$second");
ok($ok, 'back again') or diag $said;
($ok, $said) = $sy->reload("manage-routing on;\nrouting-table 777;\n$pools$four");
ok($ok, 'another number') or diag $said;
is(Routing::ask($net, 'client', 'tcp', '10.79.1.1', 7000, '10.79.1.2', 40406), '10.79.1.2 40406', 'serves as well');
is(ours(), '00 00 0: ', 'and nothing is left of the one before');
like(ours(777), qr/^10 10 1: .*10\.79\.2\.2/, 'which the new one has');
($ok, $said) = $sy->reload("$on$pools$four");
ok($ok, 'the first number') or diag $said;

# ---- accidents ----
$held = Routing::hold($net, 'client', 'tcp', '10.79.1.1', 7000, '10.79.1.2', 40501);
kill 'KILL', $sy->pid_of('routing');
is($held->again, '10.79.1.2 40501', 'the process is killed: connections do not notice');
Steelyard::wait_for('its successor', sub { my $p = $sy->pid_of('routing'); $p && $p != $pid });
$sy->wait_log(qr/routing is ready/);
is(ours(), '10 10 1: 10.79.2.2', 'its successor makes nothing twice');
$net->do('middle', 'nft delete table inet steelyard-21337');
$net->do('middle', 'ip rule del fwmark 21337');
$sy->wait_log(qr/somebody has removed nftables table inet steelyard-21337: it is made again/);
Steelyard::wait_for('all to be there again', sub { ours() eq '10 10 1: 10.79.2.2' });
is($held->again, '10.79.1.2 40501', 'what somebody took away is made again');

my $worker = $sy->pid_of('routing');
kill 'USR2', $sy->{pid};
$sy->wait_log(qr/upgraded: version/);
Steelyard::wait_for('another process for routing', sub { my $p = $sy->pid_of('routing'); $p && $p != $worker });
Steelyard::wait_for('the first start of all', sub { !grep { !$_->{ready} } @{ $sy->processes } });
is($held->again, '10.79.1.2 40501', 'an upgrade in place: connections do not notice');
like(ours(), qr/^10 10 1: /, 'and nothing is there twice');

kill 'KILL', $sy->{pid};
Steelyard::wait_for('the end of the master', sub { !$sy->alive });
like(ours(), qr/^10 10 1: /, 'the master is killed: connections that go on have what they need');
undef $held;
$sy = Steelyard->start("$pools$four", wrap => [$net->in('middle')]);
is(join(' ', grep { $_ eq 'leftover' } map { $_->{name} } @{ $sy->api('GET', '/v1/preflight')->{findings} }), 'leftover',
	'a start without manage-routing leaves them, and steelyardctl preflight tells');
ok(scalar $sy->wait_log(qr/an instance that was killed left routes and rules \(table and mark 21337, /), 'and so does the log');
$sy->stop;
$sy = Steelyard->start("$on$pools$four$six", wrap => [$net->in('middle')]);
is(ours(), '11 11 1: 10.79.2.2 fd79:2::2', 'the next start leaves exactly one of each');
is(Routing::ask($net, 'client', $_, '10.79.1.1', 7000, '10.79.1.2', 40407), '10.79.1.2 40407', "$_ works") for qw(tcp udp);

# ---- the end ----
($ok, $said) = $sy->reload("$pools$four");
ok($ok, 'manage-routing off') or diag $said;
Steelyard::wait_for('nothing to be left', sub { ours() eq '00 00 0: ' });
ok(!$sy->pid_of('routing'), 'takes all of it away, and the process leaves');
($ok, $said) = $sy->reload("$on$pools$four");
ok($ok, 'and on') or diag $said;
Steelyard::wait_for('all to be there', sub { ours() eq '10 10 1: 10.79.2.2' });
is(Routing::ask($net, 'client', 'tcp', '10.79.1.1', 7000, '10.79.1.2', 40408), '10.79.1.2 40408', 'makes it again');
is($sy->stop, 0, 'a stop');
is(ours(), '00 00 0: ', 'leaves nothing');
is(all_of_others(), $before, 'and all of others as it was');

# Where it may not, it says so, and does not start.
$sy = Steelyard->start("$on$pools$four", fail => 1, wrap => [$net->in('middle'), 'setpriv', '--bounding-set', '-net_admin']);
isnt($sy->{status}, 0, 'without CAP_NET_ADMIN there is no start');
like($sy->log_text, qr/routing .*cannot use generation 1: .*capabilities/, 'and the log says why') or diag $sy->log_text;
is(ours(), '00 00 0: ', 'nothing is left of it');

# The library is loaded by this process alone, so it is missed only now.
my ($library) = `ldd "\$(command -v nft)"` =~ m{libnftables\S* => (\S+)};
my @without = (qw(unshare -m sh -c), "mount --bind /dev/null $library && exec \"\$@\"", 'sh');
$sy = Steelyard->start("$on$pools$four", fail => 1, wrap => [$net->in('middle'), @without]);
like($sy->log_text, qr/cannot use generation 1: manage-routing: this role needs the library libnftables\S+, which cannot be loaded: /,
	'without libnftables the log says what is missing');
is(ours(), '00 00 0: ', 'and nothing was begun');
$sy = Steelyard->start("$pools$four", wrap => [$net->in('middle'), @without]);
is($sy->stop, 0, 'who does not want routing does not need it');
done_testing;
