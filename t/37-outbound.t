#!/usr/bin/env perl
# outbound-snat: what servers connect to by themselves sees the service's address; with two arms, where
# Steelyard is the servers' gateway, and with one, where servers and the way out are on one network.
# Then the check before the flight: what the test breaks on purpose is named, and nothing else.
use strict;
use warnings;
use lib ($ENV{STEELYARD_SRC} || '.') . '/t/lib';
use Farm;
use Routing;
use Steelyard;
use Test::More;

plan skip_all => 'needs root for network namespaces' if $> != 0;
plan skip_all => 'needs nft' if system('command -v nft >/dev/null 2>&1');
my $net = eval { Farm::Net->new(qw(far middle server solo)) } or plan skip_all => "needs network namespaces: $@";

# far -- cl -- middle -- sv -- server        two arms
#           \-- solo                         one arm: solo and the way to far are on one network
$net->bridge('middle', 'cl', map { "$_/24" } '10.80.1.1', '10.80.1.5', '10.80.1.6');
$net->do('middle', "ip addr add $_/64 dev cl nodad") for 'fd80:1::1', 'fd80:1::5';
$net->bridge('middle', 'sv', '10.80.2.1/24', 'fd80:2::1/64 nodad');
$net->cable('far', 'middle', 'cl', undef, '10.80.1.9/24', 'fd80:1::9/64 nodad');
$net->do('far', 'ip addr add 203.0.113.9/32 dev lo');
$net->do('far', "ip route add 10.80.$_.0/24 via 10.80.1.1") for 2, 7;
$net->cable('solo', 'middle', 'cl', '10.80.1.1', '10.80.1.22/24');
$net->cable('server', 'middle', 'sv', '10.80.2.1', '10.80.2.2/24', '10.80.2.3/24', 'fd80:2::2/64 nodad');
$net->do('server', 'ip -6 route add default via fd80:2::1');
$net->do('middle', 'ip route add default via 10.80.1.9');
$net->do('middle', 'sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.cl.send_redirects=0');
my @far = map { Routing::Server->new($net, 'far', $_, 9000) } '10.80.1.9', '203.0.113.9', 'fd80:1::9';
my @servers = map { Routing::Server->new($net, 'server', $_, 7000) } '10.80.2.2', '10.80.2.3';

my $conf = <<'CONF';
pool two { server s 10.80.2.2:7000; server s6 [fd80:2::2]:7000; }
pool own { server t 10.80.2.3:7000; }
pool one { server u 10.80.1.22:7000; }
virtual-service two { listen 10.80.1.5:7000 [fd80:1::5]:7000; pool two; monitor off; outbound-snat on; }
virtual-service clear { listen 10.80.1.5:7001; pool own; snat off; monitor off; }
virtual-service one { listen 10.80.1.6:7000; pool one; monitor off; outbound-snat on; }
CONF
my $sy = Steelyard->start("manage-routing on;\n$conf", wrap => [$net->in('middle')]);

for my $proto (qw(tcp udp)) {
	like(Routing::ask($net, 'server', $proto, '10.80.1.9', 9000, '10.80.2.2'), qr/^10\.80\.1\.5 /, "two arms, $proto: the service's address");
	like(Routing::ask($net, 'server', $proto, '10.80.1.9', 9000, '10.80.2.3'), qr/^10\.80\.2\.3 /, "a server of another service keeps its own");
	like(Routing::ask($net, 'server', $proto, 'fd80:1::9', 9000, 'fd80:2::2'), qr/^fd80:1::5 /, 'IPv6');
	like(Routing::ask($net, 'solo', $proto, '203.0.113.9', 9000), qr/^10\.80\.1\.6 /, "one arm, $proto");
}
is(Routing::ask($net, 'far', 'tcp', '10.80.1.5', 7001, '10.80.1.9', 40404), '10.80.1.9 40404', 'snat off besides');
# A server that is its own client: what is ours keeps the address that it has.
is(Routing::ask($net, 'solo', 'tcp', '10.80.1.5', 7001, '10.80.1.22', 40405), '10.80.1.22 40405', 'a server as a client of snat off');
my ($ok, $said) = $sy->reload("manage-routing on;\n" . $conf =~ s/outbound-snat on; //r);
ok($ok, 'a reload without it for one') or diag $said;
like(Routing::ask($net, 'server', 'tcp', '10.80.1.9', 9000, '10.80.2.2'), qr/^10\.80\.2\.2 /, 'and its server has its own address again');
like(Routing::ask($net, 'solo', 'tcp', '203.0.113.9', 9000), qr/^10\.80\.1\.6 /, 'the other has not');
($ok, $said) = $sy->reload("manage-routing on;\n$conf");

# ---- the check ----
# [{ name, service }] of findings, and of servers that did not answer.
sub found {
	my $client = shift;
	my $got = $sy->api('GET', '/v1/preflight' . ($client ? "?client=$client" : ''));
	return join ', ', (sort map { $_->{name} } @{ $got->{findings} }), map { "silent $_->{server}" } grep { !$_->{answers} } @{ $got->{asked} };
}
is(found(), '', 'all is well') or diag $sy->ctl('preflight');
my ($text, $status) = $sy->ctl('preflight');
is($status, 0, 'steelyardctl preflight says so');
like($text, qr/^10\.80\.2\.3:7000 +192\.0\.2\.1 +yes +it accepted a connection$/m, 'the server was asked by a client that nobody is');
like($text, qr/Nothing stands in the way/, 'in words');

# Breaks something, looks, and mends it.
sub broken {
	my ($what, $break, $mend, $name, $words, @with) = @_;
	$net->do(@$_) for @$break;
	like(found(@with), $name, "$what is named");
	my ($said, $status) = $sy->ctl('preflight', @with ? ('--client', @with) : ());
	is($status, 1, 'with an exit status');
	like($said =~ s/\s+/ /gr, $words, 'and in words') or diag $said;
	$net->do(@$_) for @$mend;
}
broken('no forwarding', [['middle', 'sysctl -qw net.ipv4.ip_forward=0']], [['middle', 'sysctl -qw net.ipv4.ip_forward=1'],
	['middle', 'sysctl -qw net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.cl.send_redirects=0']], qr/^forwarding\b/, qr/net\.ipv4\.ip_forward/);
broken('redirects', [['middle', 'sysctl -qw net.ipv4.conf.cl.send_redirects=1']], [['middle', 'sysctl -qw net.ipv4.conf.cl.send_redirects=0']],
	qr/^redirects$/, qr/send_redirects/);
broken('a server that does not answer this way', [['server', 'ip route del default']], [['server', 'ip route add default via 10.80.2.1']],
	qr/^silent 10\.80\.2\.3:7000$/, qr/default gateway/);
broken('a strict filter where clients come in', [['middle', 'sysctl -qw net.ipv4.conf.cl.rp_filter=1'], ['middle', 'ip route add 10.80.7.0/24 dev sv']],
	[['middle', 'sysctl -qw net.ipv4.conf.cl.rp_filter=0'], ['middle', 'ip route del 10.80.7.0/24']], qr/^rp-filter$/, qr/rp_filter/, '10.80.7.7');
broken('a filter that looks at marks', [['middle', 'sysctl -qw net.ipv4.conf.sv.rp_filter=1 net.ipv4.conf.sv.src_valid_mark=1']],
	[['middle', 'sysctl -qw net.ipv4.conf.sv.rp_filter=0 net.ipv4.conf.sv.src_valid_mark=0']], qr/^rp-filter/, qr/src_valid_mark/);
broken('a rule before ours', [['middle', 'ip rule add priority 10 iif sv lookup main']], [['middle', 'ip rule del priority 10']],
	qr/^answers/, qr/another policy/);
broken('a way to the server by somebody else', [['middle', 'ip route add 10.80.2.3/32 via 10.80.1.9']], [['middle', 'ip route del 10.80.2.3/32']],
	qr/gateway/, qr/10\.80\.1\.9/);
is(found(), '', 'all is well again') or diag $sy->ctl('preflight');

# Without manage-routing, what is missing is said; -t says what it can know.
my ($off, $nonlocal) = ($conf =~ s/outbound-snat on; //gr, 'virtual-service from { listen 10.80.1.5:7002; pool own; snat 10.80.9.9; monitor off; }');
($ok, $said) = $sy->reload("$off$nonlocal\n");
ok($ok, 'manage-routing off') or diag $said;
Steelyard::wait_for('routing to leave', sub { !$sy->pid_of('routing') });
is(found(), 'answers, nonlocal', 'rules that nobody made, an address that is not here');
($text) = $sy->ctl('preflight');
like($text =~ s/\s+/ /gr, qr/manage-routing on/, 'and what helps');
$net->do('middle', 'sysctl -qw net.ipv4.ip_nonlocal_bind=1');
$net->do('middle', 'ip rule add iif sv lookup 100');
$net->do('middle', 'ip route add local default dev lo table 100');
is(found(), '', 'rules of your own do as well');
$sy->write_conf("manage-routing on;\n$conf" . "virtual-service near { listen 10.80.2.1:7003; pool own; snat off; monitor off; }\n");
$net->do('middle', 'sysctl -qw net.ipv4.ip_forward=0');
my $checked = join '', map { s/\s+/ /gr } $net->do('middle', Steelyard::steelyardd(), '-t', '-m', Steelyard::modules(), '-c', $sy->{file});
like($checked, qr/warning: virtual-service \w+: net\.ipv4\.ip_forward is 0/, 'steelyardd -t names forwarding');
like($checked, qr/warning: virtual-service near: clients in 10\.80\.2\.0\/24 get the answers of server t/, 'and clients beside the servers');
is($sy->stop, 0, 'the end');
done_testing;
