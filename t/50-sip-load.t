#!/usr/bin/env perl
# No call fails: SIPp calls at a rate, in modes proxy and connection, over UDP, TCP and TLS, while the
# configuration is reloaded, a server is added, one is drained, and the program is replaced in place. What is
# said again is counted, too: a lost datagram would show. SIPp knows no TLS: another Steelyard does it instead.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Certificates;
use List::Util qw(sum);
use Sip qw(kamailio sipp_server);
use Steelyard;

my $certs = Certificates->new;
$certs->authority('ca');
$certs->issue('server', ca => 'ca', names => ['sip.example.net']);
my $dir = $certs->dir;
my $secured = "{ tls { certificate $dir/server.crt; key $dir/server.key; } }";
my $secures = "tls { ca $dir/ca.crt; name sip.example.net; }";

# Three servers, each behind a Kamailio of its own. Where mode connection speaks TCP there are others: SIPp as it is.
my $slow = 20000;
my @u = map { sipp_server('u1', scenario => Sip::callee(ring => 1000, retrans => $slow, wait => 500)) } 1 .. 3;
my @c = map { sipp_server('t1') } 1 .. 3;
my @kamailio = map { [ kamailio(certs => $dir, proxy => 1, callee => $_->{port}) ] } @u;
my %at = ('c-tcp' => [ map { $_->{port} } @c ], 'c-tls' => [ map { $_->[1]{tls} } @kamailio ],
	map { my $transport = $_; $_ => [ map { $_->[1]{$transport} } @kamailio ] } qw(udp tcp tls));
my @service = qw(udp tcp tls c-tcp c-tls);

sub conf {
	my ($servers, $more) = @_;
	return join('', map {
		my $service = $_;
		my $mode = $service =~ /^c-/ ? 'connection' : 'proxy';
		my $tls = $service =~ /tls/;
		"pool $service { " . ($tls ? $secures : '') . join(' ', map { "server s$_ 127.0.0.1:$at{$service}[$_ - 1];" } 1 .. $servers) . " }\n"
			. "virtual-service $service { listen 127.0.0.1:0" . ($service eq 'udp' ? '/udp;' : $tls ? " $secured" : ';')
			. " protocol sip { mode $mode; } pool $service; scheduler round-robin; monitor off; }\n"
	} @service) . ($more // '');
}
my $sy = Steelyard->start(conf(2));
my $front = Steelyard->start(join '', map { <<"CONF" } qw(tls c-tls));
pool $_ { $secures server s 127.0.0.1:@{[ $sy->port($_) ]}; }
virtual-service $_ { listen 127.0.0.1:0; pool $_; monitor off; }
CONF

sub figures {
	my %of = map { $_->{name} => $_->{figures} } @{ $sy->api('GET', '/v1/services')->{services} };
	return \%of;
}
sub invites { my ($service, $server) = @_; return $sy->seat($service, $server)->{figures}{requests_invite} // 0 }

my %to = map { $_ => /tls/ ? $front->port($_) : $sy->port($_) } @service;
# A connection for each call; in one case one for all.
my %how = (udp => 'un', tcp => 't1');
my %client = map {
	$_ => Sip::sipp_start([ '-t', $how{$_} // 'tn', qw(-max_socket 2000 -r 10 -d 1000 -trace_counts -recv_timeout 30000), "127.0.0.1:$to{$_}" ],
		scenario => Sip::calling(retrans => $slow))
} @service;
# So many more calls of each.
sub more_calls {
	my ($n, $why) = @_;
	my $before = figures();
	Steelyard::wait_for("$n more calls $why", sub {
		for (@service) { $client{$_}->alive or die "the client $_ ended $why: " . $client{$_}->text }
		my $now = figures();
		return !grep { ($now->{$_}{requests_invite} // 0) < ($before->{$_}{requests_invite} // 0) + $n } @service;
	});
}

more_calls(15, 'at first');
my ($ok, $text) = $sy->reload(conf(2, "# again\n"));
ok($ok, 'a reload') or diag $text;
more_calls(15, 'after a reload');
($ok, $text) = $sy->reload(conf(3));
ok($ok, 'a server is added') or diag $text;
more_calls(15, 'with another server');
for (@service) {
	my ($text, $status) = $sy->ctl('drain', 's1', '--pool', $_);
	is($status, 0, "$_: a server is drained") or diag $text;
}
$sy->api('GET', '/v1/connections');
my %drained = map { $_ => invites($_, 's1') } @service;
my %others = map { $_ => invites($_, 's2') + invites($_, 's3') } @service;
more_calls(15, 'after a drain');
for (@service) {
	cmp_ok($drained{$_}, '>=', 15, "$_: the server had $drained{$_} calls");
	is(invites($_, 's1'), $drained{$_}, 'and gets none when it drains');
	cmp_ok(invites($_, 's2') + invites($_, 's3'), '>=', $others{$_} + 15, 'the others get them');
	cmp_ok(invites($_, 's3'), '>=', 1, 'the new one, too');
}
my @before = map { $_->{pid} } grep { $_->{role} eq 'worker' } @{ $sy->processes };
kill 'USR2', $sy->{pid};
$sy->wait_log(qr/upgraded: version/);
Steelyard::wait_for('new workers', sub { 2 == (() = $sy->log_text =~ /takes over from worker/g) });
more_calls(15, 'after an upgrade');

my %done;
kill 'USR1', $client{$_}{pid} for @service;
$done{$_} = $client{$_}->finish for @service;

# How often SIPp has said a message again, by what it is.
sub again {
	my ($client, $message) = @_;
	my ($file) = glob "$client->{dir}/*_counts.csv" or return 'no file of counts';
	open my $in, '<', $file or return $!;
	my @names = split /;/, scalar <$in>;
	my @lines = <$in>;
	my %is;
	@is{@names} = split /;/, $lines[-1] // '';
	my ($name) = grep { /^\d+_${message}_Retrans/ } @names;
	return $is{ $name // '' } // "no count of $message";
}

my %calls;
for (@service) {
	my $got = $done{$_};
	$calls{$_} = $got->{good} // 0;
	ok($got->{ok} && ($got->{failed} // 1) == 0 && $calls{$_} >= 75 && $calls{$_} == $got->{calls}, "$_: $calls{$_} calls, none failed")
		or diag "calls $got->{calls} failed $got->{failed} good $got->{good}\n$got->{text}";
	is(again($client{$_}, 'INVITE'), 0, 'no INVITE was said again');
	is(again($client{$_}, 'BYE'), 0, 'and no BYE');
}
# What the servers say of it.
my %heard;
for my $servers ([ most => @u ], [ 'c-tcp' => @c ]) {
	my ($what, @run) = @$servers;
	kill 'USR1', $_->{pid} for @run;
	for my $n (1 .. 3) {
		my $got = $run[$n - 1]->finish;
		$heard{$what}[$n] = $got->{calls} // 0;
		is($got->{unexpected}, 0, "$what, server $n: $heard{$what}[$n] calls, none of them broken off") or diag $got->{text};
	}
}
my @most = grep { $_ ne 'c-tcp' } @service;
is(sum(@{ $heard{most} }[1 .. 3]), sum(@calls{@most}), 'the servers had each call once');
is($heard{most}[1], sum(@drained{@most}), 'and the drained one none after its drain');
is(sum(@{ $heard{'c-tcp'} }[1 .. 3]), $calls{'c-tcp'}, 'those for mode connection over TCP, too');
is($heard{'c-tcp'}[1], $drained{'c-tcp'}, 'and their drained one');
my $f = figures();
is_deeply([ map { "$_ $f->{$_}{refused} $f->{$_}{unanswered}" } @service ], [ map { "$_ 0 0" } @service ], 'nothing was refused, no transaction is lost');
is(scalar(() = $sy->log_text =~ /no ACK came/g), 0, 'a call that has its ACK does not end for want of one');
is($_->stop, 0, 'it ends well') for $front, $sy;
done_testing;
