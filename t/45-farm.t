#!/usr/bin/env perl
# The reference lab's four deployments from the ready-made templates, with real addresses in network
# namespaces: Front Ends all on the balancer and with DNS, one arm; the Edges' internal side, one arm,
# and their external side, two arms, A/V with the clients' own addresses. Every port carries traffic; a
# Front End and an Edge are killed under a crowd that tries once more at most; the whole farm fits into
# 64 MiB on one core.
use strict;
use warnings;
use lib ($ENV{STEELYARD_SRC} || '.') . '/t/lib';
use Crowd qw(memory);
use Farm;
use IPC::Open2 qw(open2);
use Socket qw(inet_aton);
use File::Temp qw(tempdir);
use Steelyard;
use Test::More;
use Time::HiRes qw(time);

plan skip_all => 'needs root for network namespaces' if $> != 0;
my $dir = tempdir('steelyard-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $dir;
my $net = eval { Farm::Net->new(qw(lb fe1 fe2 edge1 edge2 inside outside)) }
	or plan skip_all => "needs network namespaces: $@";

# One arm: everybody inside is on one network with the balancer. Two arms: the Edges' external network is
# behind it, and it is their way back.
my @vips = map { "10.88.1.$_/24" } 1, 5, 6, 7;
my @edges = map { { inside => "10.88.1.2$_", access => "198.51.100.1$_", webconf => "198.51.100.2$_", av => "198.51.100.3$_" } } 1, 2;
$net->bridge('lb', 'in', @vips);
$net->bridge('lb', 'dmz', '198.51.100.1/24');
$net->bridge('lb', 'out', map { "203.0.113.$_/24" } 1, 10, 11, 12);
$net->cable("fe$_", 'lb', 'in', undef, "10.88.1.1$_/24") for 1, 2;
for my $i (1, 2) {
	my $e = $edges[$i - 1];
	$net->cable("edge$i", 'lb', 'in', undef, "$e->{inside}/24");
	$net->cable("edge$i", 'lb', 'dmz', '198.51.100.1', map { "$e->{$_}/24" } qw(access webconf av));
}
$net->cable('inside', 'lb', 'in', undef, '10.88.1.200/24');
$net->cable('outside', 'lb', 'out', '203.0.113.1', '203.0.113.200/24');
# A killed server's kernel says for each datagram that nobody is there; by default it says so once a second.
$net->do("edge$_", 'sysctl -qw net.ipv4.icmp_ratelimit=0') for 1, 2;
# Answers of the Edges have the clients' addresses: manage-routing sees to that. The rest that they do is routed.
$net->do('lb', 'sysctl -qw net.ipv4.ip_forward=1');

my %servers = map { ("fe$_" => Farm::Server->new($dir, "fe$_", [["10.88.1.1$_", 'front-end']], wrap => [$net->in("fe$_")])) } 1, 2;
for my $i (1, 2) {
	my $e = $edges[$i - 1];
	$servers{"edge$i"} = Farm::Server->new($dir, "edge$i", [[$e->{inside}, 'edge-internal'], map { [$e->{$_}, "edge-$_"] } qw(access webconf av)],
		wrap => [$net->in("edge$i")]);
}

my $templates = Steelyard::src_dir() . '/conf.d/templates';
my $front_ends = 'front-ends { server fe1 10.88.1.11; server fe2 10.88.1.12; }';
sub edges { my $which = shift; join ' ', map { "server edge" . ($_ + 1) . " $edges[$_]{$which};" } 0, 1 }
my $quick = 'check-interval 1s; slow-start 0;';
my $conf = <<"CONF";
include $templates/*.conf;
log-connections off;
manage-routing on;
deploy lync-fe-hlb { virtual-address 10.88.1.5; version 2010; pool-name fepool.lab.test; ca $dir/state/ca.pem; $front_ends $quick }
deploy lync-edge-external {
	access-address 203.0.113.10; access-edges { @{[ edges('access') ]} } access-name sip.lab.test;
	webconf-address 203.0.113.11; webconf-edges { @{[ edges('webconf') ]} } webconf-name webconf.lab.test;
	av-address 203.0.113.12; av-edges { @{[ edges('av') ]} }
	ca $dir/state/ca.pem; version 2010; $quick
}
CONF
my $rest = <<"CONF";
deploy lync-fe-web-dnslb { internal-address 10.88.1.6; version 2010; $front_ends $quick }
deploy lync-edge-int { internal-address 10.88.1.7; internal-edges { @{[ edges('inside') ]} } pool-name edgepool.lab.test; ca $dir/state/ca.pem; $quick }
CONF
my $sy = Steelyard->start("workers auto;\n$conf", wrap => [$net->in('lb'), 'taskset', '-c', '0']);

# ---- the farm of L1 and L4 on one core ----
my @fe_tls = ([5061, 'fepool'], [444, 'fepool'], [5067, 'fepool'], [443, 'webint'], [4443, 'webext']);
my @fe_tcp = qw(135 80 8080 5060 5065 5068 5069 5070 5071 5072 5073 5075 5076 5080);
my $l1 = join '', map({ "fe-$_->[0] 10.88.1.5:$_->[0] tls tls-name=$_->[1].lab.test answers-port=$_->[0]" . ($_->[0] =~ /443/ ? ' web=connection' : '') . "\n" } @fe_tls),
	map({ "fe-$_ 10.88.1.5:$_ tcp answers-port=$_" . (/^80/ ? ' web=connection' : '') . "\n" } @fe_tcp), "fe-448 10.88.1.5:448 tcp optional short=1 long=0\n";
my $l2 = join '', map { my ($port, $tls) = @$_; "web-$port 10.88.1.6:$port " . ($tls ? "tls tls-name=$tls.lab.test" : 'tcp') . " answers-port=$port web=connection\n" }
	[443, 'webint'], [80], [4443, 'webext'], [8080];
my $l3 = <<'TARGETS';
int-5061 10.88.1.7:5061 tls tls-name=edgepool.lab.test answers-port=5061
int-5062 10.88.1.7:5062 tls tls-name=edgepool.lab.test answers-port=5062
TARGETS
my $l4 = <<'TARGETS';
access-443 203.0.113.10:443 tls tls-name=sip.lab.test answers-port=443
access-5061 203.0.113.10:5061 tls tls-name=sip.lab.test answers-port=5061
webconf-443 203.0.113.11:443 tls tls-name=webconf.lab.test answers-port=443
TARGETS
# STUN, as ICE agents ask it: "OWN MAPPED" once, or again and again, each time anew and once more if it was in
# vain, until the input ends: "ROUNDS FAILED AGAIN".
my $stun = <<'PERL';
use IO::Socket::IP; use IO::Select; use Socket qw(SOCK_DGRAM SOCK_STREAM inet_ntoa);
my ($to, $port, $proto, $loop) = @ARGV;
my $cookie = pack 'N', 0x2112a442;
$SIG{PIPE} = 'IGNORE';
sub try {
	my $sock = IO::Socket::IP->new(PeerHost => $to, PeerPort => $port, Timeout => 8,
		Type => $proto eq "udp" ? SOCK_DGRAM : SOCK_STREAM) or return;
	my $tid = $cookie . pack 'NNN', $$, rand 2**32, rand 2**32;
	if ($proto eq "tcp") { # the hello that looks like TLS, and its answer; then who we are
		syswrite $sock, pack('H*', '160301002d010000290301') . $tid . 'x' x 16 . pack('H*', '00000200180100');
		my $said = '';
		while (length $said < 83) {
			IO::Select->new($sock)->can_read(8) && sysread $sock, $said, 83 - length $said, length $said or return;
		}
		return $said =~ /^\x16\x03\x01\x00\x4e\x02/ ? ($sock->sockhost . ':' . $sock->sockport, $sock) : ();
	}
	for my $wait (0.5, 1, 2, 2) { # RFC 8489 6.2.1
		syswrite $sock, pack('nn', 1, 0) . $tid;
		IO::Select->new($sock)->can_read($wait) && defined sysread $sock, my $said, 4096 or next;
		my ($type, $len) = unpack 'nn', $said // '';
		next if ($type // 0) != 0x0101 || substr($said, 4, 16) ne $tid;
		for (my $at = 20; $at < 20 + $len;) {
			my ($attr, $n) = unpack 'nn', substr $said, $at, 4;
			my ($p, $ip) = unpack 'x2na4', substr $said, $at + 4, $n;
			return $sock->sockhost . ':' . $sock->sockport . ' ' . inet_ntoa($ip ^ $cookie) . ':' . ($p ^ 0x2112) if $attr == 0x0020;
			$at += 4 + $n + -$n % 4;
		}
	}
	return;
}
unless ($loop) {
	my ($words, $open) = try();
	$| = 1;
	print $words // 'nothing nothing', "\n";
	readline STDIN; # the connection stays until then
	exit;
}
my ($rounds, $failed, $again, $in) = (0, 0, 0, IO::Select->new(\*STDIN));
until ($in->can_read(0.1)) {
	$rounds++;
	try() and next;
	$again++;
	select undef, undef, undef, 2; # a process that was killed is not gone at once on a busy machine
	try() or $failed++;
}
print "$rounds $failed $again\n";
PERL
# Own address, and what the server saw: it says so itself, or its kernel does.
sub mapped {
	my ($where, @what) = @_;
	my $pid = open2(my $out, my $in, $net->in($where), $^X, '-e', $stun, @what);
	my ($own, $seen) = split ' ', readline($out) // '';
	$own //= 'nobody';
	my ($ip, $port) = split /:/, $own;
	my $hex = sprintf '%08X:%04X', unpack('V', inet_aton($ip) // "\0" x 4), $port // 0;
	my $peers = join '', map { $net->do($_, 'cat', '/proc/net/tcp') } qw(edge1 edge2);
	$seen = $peers =~ / $hex / ? $own : "none of\n$peers" unless length($seen // '');
	close $in;
	waitpid $pid, 0;
	return ($own, $seen);
}
sub stun_crowd {
	my ($where, @what) = @_;
	my $pid = open2(my $out, my $in, $net->in($where), $^X, '-e', $stun, @what, 'loop');
	return { where => "$where @what", pid => $pid, out => $out, in => $in };
}
sub stun_end {
	my $crowd = shift;
	close $crowd->{in};
	my ($rounds, $failed, $again) = split ' ', readline($crowd->{out}) // '0 1 0';
	waitpid $crowd->{pid}, 0;
	return ($rounds, $failed, $again);
}
my @pace = ('--short', 2, '--long', 4, '--pause', '200ms', '--interval', '300ms', '--ramp', '300ms', '--timeout', '20s', '--retry-within', '20s');
sub crowd { my ($where, $name, $targets) = @_; Farm::Crowd->new($dir, $targets, name => $name, wrap => [$net->in($where)], args => \@pace) }
sub every_service_up {
	my ($what, @but) = @_;
	Steelyard::wait_for($what, sub {
		my $list = $sy->api('GET', '/v1/services')->{services};
		!grep { my $s = $_; grep { $_->{state} !~ /^(up|unused)$/ } @{ $s->{servers} } } @$list;
	});
}
every_service_up('all servers to be up');
my ($in, $out) = (crowd('inside', 'l1', $l1), crowd('outside', 'l4', $l4));
SKIP: {
	skip 'built with sanitizers', 1 if Crowd::sanitized();
	my %pss = map { ("$_->{role} $_->{pid}" => memory($_->{pid})->{pss}) } @{ $sy->processes }, { role => 'master', pid => $sy->{pid} };
	my $sum = 0;
	$sum += $_ for values %pss;
	cmp_ok($sum, '<', 64 * 1024, "all processes of the whole farm: $sum KiB on one core")
		or diag map { "$_: $pss{$_}\n" } sort keys %pss;
	is(scalar(grep { /^worker/ } keys %pss), 1, 'with one worker');
}
my $tried_again = 0;
for my $crowd ($in, $out) {
	my $report = $crowd->end;
	is($report->{status}, 0, "$crowd->{name}: every port carries traffic") or diag $crowd->words;
	is($report->{failed}, 0, "$crowd->{name}: no exchange failed");
}
my %unused = map { $_->{name} => $_->{state} } @{ $sy->api('GET', '/v1/services')->{services} };
is($unused{'fe-448'}, 'unused', 'a service that no server has shows as unused');
is($unused{'fe-sip'}, 'up', 'another as up');

# ---- who sees whom ----
my $ask = <<'PERL';
use IO::Socket::IP; use Socket qw(SOCK_DGRAM SOCK_STREAM); use IO::Select;
my ($to, $port, $proto) = @ARGV;
my $sock = IO::Socket::IP->new(PeerHost => $to, PeerPort => $port, Type => $proto eq "udp" ? SOCK_DGRAM : SOCK_STREAM) or die $@;
for (1 .. 10) {
	syswrite $sock, "LAB 1 hello\n";
	last if IO::Select->new($sock)->can_read(2);
}
sysread $sock, my $said, 4096;
print $sock->sockhost, ":", $sock->sockport, " ", $said;
PERL
sub asked {
	my ($where, @what) = @_;
	open my $pipe, '-|', $net->in($where), $^X, '-e', $ask, @what or die $!;
	my $said = <$pipe> // '';
	return $said =~ /^(\S+) (\S+) (\d+) (\S+) 1 hello/ ? { own => $1, server => $2, seen => $4 } : { own => 'nothing', said => $said, seen => '' };
}
for my $case (['203.0.113.12', 443, 'tcp'], ['203.0.113.12', 3478, 'udp']) {
	my ($own, $seen) = mapped('outside', @$case);
	is($seen, $own, "A/V over $case->[2]: the Edge sees the client's own address and port");
	like($own, qr/^203\.0\.113\.200:/, 'which is the one outside');
}
like(asked('inside', '10.88.1.5', 5068, 'tcp')->{seen}, qr/^10\.88\.1\.[1567]:/, 'Front Ends see an address of the balancer');
my $own = asked('fe1', '10.88.1.5', 5068, 'tcp');
like($own->{server} // '', qr/^fe[12]$/, 'and a Front End reaches its own pool');

# ---- all four, and servers that fail ----
my ($ok, $said) = $sy->reload("workers auto;\n$conf$rest");
ok($ok, 'L2 and L3 come with a reload') or diag $said;
every_service_up('all servers of all four deployments to be up');
($in, $out) = (crowd('inside', 'inside', "$l1$l2$l3"), crowd('outside', 'outside', $l4));
my @stun = map { stun_crowd(@$_) } ['inside', '10.88.1.7', 443, 'tcp'], ['inside', '10.88.1.7', 3478, 'udp'],
	['outside', '203.0.113.12', 443, 'tcp'], ['outside', '203.0.113.12', 3478, 'udp'];
for my $name (qw(fe1 edge1)) {
	$servers{$name}->kill;
	my $down = eval { Steelyard::wait_for("$name to be down everywhere", sub {
		my $list = $sy->api('GET', '/v1/services')->{services};
		my @seats = grep { $_->{name} eq $name } map { @{ $_->{servers} } } @$list;
		my @shown = grep { $_->{state} =~ /^(down|unused)$/ } @seats;
		@seats && @shown == @seats ? scalar @seats : 0;
	}) };
	is($down, $name eq 'fe1' ? 23 : 9, "$name is down in each of its services");
	my ($status) = $sy->ctl('status');
	like($status, qr/^$name\s+\S+\s+down\s.*connection\s+refused/m, 'steelyardctl status says so, and why') or diag $status;
}
$servers{$_}->again for qw(fe1 edge1);
every_service_up('the servers to be back');
for my $crowd ($in, $out) {
	my $report = $crowd->end;
	is($report->{status}, 0, "$crowd->{name}: nobody who tried once more failed") or diag $crowd->words;
	is($report->{failed}, 0, "$crowd->{name}: no exchange failed");
	$tried_again += $report->{moved} + $report->{again};
}
cmp_ok($tried_again, '>', 0, 'some had to');
for my $crowd (@stun) {
	my ($rounds, $failed, $again) = stun_end($crowd);
	cmp_ok($rounds, '>', 10, "$crowd->{where}: STUN was carried, $rounds times");
	is($failed, 0, "$crowd->{where}: nobody who tried once more failed ($again had to)");
}
is($sy->stop, 0, 'the end');
done_testing;
