#!/usr/bin/env perl
# Persistence in the daemon: a client keeps its server over connections, workers, reloads and the death of
# any process but the master; it is visible, clearable, and gives way when the server is gone.
use strict;
use warnings;
use Test::More;
use FindBin;
use lib "$FindBin::Bin/lib";
use IO::Socket::INET;
use Time::HiRes qw(sleep time);
use Steelyard;

my @names = qw(a b c);
my %server = map { $_ => Steelyard->server($_, greet => 1) } @names;
my %line = map { $_ => "server $_ 127.0.0.1:" . $server{$_}->port . ';' } @names;

# add: more servers; extra: more directives of the first service.
sub conf {
	my %opt = @_;
	my $all = join ' ', @line{@names}, $opt{add} // ();
	my $monitor = 'monitor tcp { interval 100ms; fall 1; rise 1; }';
	return <<"CONF";
workers 2;
pool p { $all }
virtual-service main {
	listen 127.0.0.1:@{[ $opt{port} // 0 ]};
	pool p;
	scheduler round-robin;
	persistence source { timeout 10m; }
	$monitor
	@{[ $opt{extra} // '' ]}
}
virtual-service nets { listen 127.0.0.1:0; pool p; scheduler round-robin; persistence source { mask4 24; } $monitor }
virtual-service short { listen 127.0.0.1:0; pool p; scheduler round-robin; persistence source { timeout 2s; refresh off; } $monitor }
virtual-service six { listen [::1]:0; pool p; scheduler round-robin; persistence source; $monitor }
CONF
}

my $sy = Steelyard->start(conf());
$sy->wait_up('main', $_) for @names;

my %port;
sub visit {
	my ($service, $from, %opt) = @_;
	$port{$service} //= $sy->port($service);
	my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port{$service},
		LocalAddr => $from, Timeout => 20) or return wantarray ? ('', undef) : '';
	local $SIG{ALRM} = sub { die "no greeting of $service in time\n" };
	alarm 30;
	my $line = <$sock> // '';
	alarm 0;
	my ($name) = $line =~ /^hello (\w+)/;
	return wantarray ? ($name // '', $sock) : $name // '';
}

my @clients = map { "127.0.2.$_" } 1 .. 60;
my %home; # client -> server
sub not_at_home {
	return join ' ', grep { visit('main', $_) ne $home{$_} } @clients;
}

sub entries { $sy->api('GET', '/v1/persistence')->{entries} }
sub entry {
	my ($service, $key) = @_;
	my ($found) = grep { $_->{service} eq $service && $_->{key} eq $key } @{ entries() };
	return $found;
}

# ---- stays ----
$home{$_} = visit('main', $_) for @clients;
my %of = map { my $name = $_; $name => scalar grep { $home{$_} eq $name } @clients } @names;
ok($of{a} >= 15 && $of{b} >= 15 && $of{c} >= 15, "round-robin spreads the clients ($of{a} $of{b} $of{c})");
is(not_at_home(), '', "round $_: each client comes to its server again, through either worker") for 1 .. 3;
is(scalar(grep { $_->{service} eq 'main' } @{ entries() }), 60, 'the table has an entry for each');
is(entry('main', '127.0.2.7')->{server}, $home{'127.0.2.7'}, 'with the right server');
like(scalar $sy->ctl('explain', 'main', '--client', '127.0.2.7'), qr/persistence/, 'explain says why');

# ---- masks, time, IPv6 ----
my $net = visit('nets', '127.0.3.1');
is(join(' ', grep { visit('nets', "127.0.3.$_") ne $net } 2 .. 20), '', 'mask4 24: a network is one client');
ok(entry('nets', '127.0.3.0/24'), 'and is shown as one');
my %seen = map { scalar visit('nets', "127.0.$_.1") => 1 } 4 .. 12;
is(scalar keys %seen, 3, 'other networks are others');
{
	my $begin = time;
	my $first = visit('short', '127.0.5.1');
	my $second = visit('short', '127.0.5.1');
	SKIP: {
		skip 'the machine was too slow for a timeout of 2 s', 1 if time - $begin > 1.5;
		is($second, $first, 'timeout 2s: within it, the same server');
	}
	Steelyard::wait_for('the entry to end', sub { !entry('short', '127.0.5.1') });
	cmp_ok(time - $begin, '>', 1.5, 'refresh off: it ends all the same, after ' . sprintf '%.1f s', time - $begin);
	my $again = time;
	visit('short', '127.0.5.1');
	my $entry = entry('short', '127.0.5.1');
	SKIP: {
		skip 'the machine was too slow for a timeout of 2 s', 1 if !$entry && time - $again > 1.5;
		cmp_ok($entry->{age_ms}, '<', 1500 + 1000 * (time - $again), 'then the scheduler decides anew');
	}
}
SKIP: {
	my ($six) = grep { $_->{name} eq 'six' } @{ $sy->api('GET', '/v1/services')->{services} };
	my ($port) = $six->{listeners}[0]{address} =~ /:(\d+)$/;
	require IO::Socket::IP;
	my $ask = sub {
		my $sock = IO::Socket::IP->new(PeerAddr => '::1', PeerPort => $port, Timeout => 20) or return;
		my $line = <$sock> // '';
		return $line =~ /^hello (\w+)/ ? $1 : '';
	};
	my $first = $ask->();
	skip 'no IPv6 here', 2 unless $first;
	is(join(' ', grep { $ask->() ne $first } 1 .. 6), '', 'IPv6: the same server');
	ok(entry('six', '::/64'), 'one entry for its /64');
}

# ---- reload ----
my ($ok, $text) = $sy->reload;
ok($ok, 'reload, nothing changed') or diag($text);
is(not_at_home(), '', 'everybody keeps his server');
$server{d} = Steelyard->server('d', greet => 1);
($ok, $text) = $sy->reload(conf(add => 'server d 127.0.0.1:' . $server{d}->port . ';', extra => 'idle-timeout 20m;'));
ok($ok, 'reload with one more server') or diag($text);
%port = ();
$sy->wait_up('main', 'd');
is(not_at_home(), '', 'everybody still keeps his server');
($ok, $text) = $sy->reload("pool p { server a 127.0.0.1:99999; }\n");
ok(!$ok, 'a reload that is refused');
is(not_at_home(), '', 'changes nothing');

# ---- death of each role ----
# Which connections were made is counted here; what the service counted must be the same.
sub total {
	my ($service) = grep { $_->{name} eq 'main' } @{ $sy->api('GET', '/v1/services')->{services} };
	return $service->{total};
}
my $visits = 0;
sub count_visits { $visits += @clients; return not_at_home() }

my $before = total();
for my $victim ([ worker => 0 ], [ worker => 1 ], ['checker'], ['console']) {
	my ($role, $index) = @$victim;
	my $name = join ' ', @$victim;
	my $pid = $sy->pid_of($role, $index);
	kill 'KILL', $pid;
	Steelyard::wait_for("$name to be there again", sub {
		my $new = eval { $sy->pid_of($role, $index) };
		$new && $new != $pid && grep { $_->{pid} == $new && $_->{ready} } @{ $sy->processes };
	});
	is(count_visits(), '', "$name is killed: everybody keeps his server");
	is($sy->seat('main', 'a')->{state}, 'up', 'and health is known');
}
Steelyard::wait_for('all connections to be counted', sub { total() >= $before + $visits });
is(total() - $before, $visits, 'no connection was lost or counted twice by the deaths');
Steelyard::wait_for('nothing to be active', sub {
	my ($service) = grep { $_->{name} eq 'main' } @{ $sy->api('GET', '/v1/services')->{services} };
	$service->{active} == 0;
});
pass('and nothing is active when all are gone');

# A worker dies under connections: what it had is gone from the gauge at once.
{
	my @held = map { [ visit('main', $_) ] } @clients;
	Steelyard::wait_for('60 active', sub {
		my ($service) = grep { $_->{name} eq 'main' } @{ $sy->api('GET', '/v1/services')->{services} };
		$service->{active} == 60;
	});
	my %of_worker;
	Steelyard::wait_for('workers to have told', sub {
		%of_worker = map { $_->{index} => $_->{connections} } grep { $_->{role} eq 'worker' } @{ $sy->processes };
		$of_worker{0} + $of_worker{1} == 60;
	});
	kill 'KILL', $sy->pid_of('worker', 0);
	my $active;
	Steelyard::wait_for('its connections to be gone', sub {
		my ($service) = grep { $_->{name} eq 'main' } @{ $sy->api('GET', '/v1/services')->{services} };
		($active = $service->{active}) == $of_worker{1};
	});
	is($active, $of_worker{1}, "worker 0 dies with its $of_worker{0} connections: $active are active");
	my $alive = 0;
	for my $pair (@held) {
		my $sock = $pair->[1];
		syswrite $sock, "still\n";
		local $SIG{ALRM} = sub { die "no answer in time\n" };
		local $SIG{PIPE} = 'IGNORE';
		alarm 30;
		my $line = <$sock> // '';
		alarm 0;
		$alive++ if $line =~ /: still$/;
	}
	is($alive, $of_worker{1}, 'those of the other worker live on');
}

# ---- drain, down ----
my @of_a = grep { $home{$_} eq 'a' } @clients;
$sy->ctl('drain', 'a');
Steelyard::wait_for('a to drain', sub { ($sy->seat('main', 'a')->{state} // '') =~ /drain/ });
is(not_at_home(), '', 'a drains: whom it knows, it keeps');
my $new = grep { visit('main', "127.0.6.$_") eq 'a' } 1 .. 20;
is($new, 0, 'new ones go elsewhere');
$sy->ctl('enable', 'a');
Steelyard::wait_for('a to be up', sub { $sy->seat('main', 'a')->{state} eq 'up' });

$server{a}->kill;
my %now = map { $_ => scalar visit('main', $_) } @of_a;
is(scalar(grep { $_ !~ /^[bcd]$/ } values %now), 0, 'a dies: its clients are served by others at once');
$sy->wait_down('main', 'a');
Steelyard::wait_for('entries of a to be gone', sub {
	!grep { $_->{server} eq 'a' && $_->{service} eq 'main' } @{ entries() };
});
pass('no entry names it any more');
$server{a}->again;
$sy->wait_up('main', 'a');
is(join(' ', grep { visit('main', $_) ne $now{$_} } @of_a), '', 'it is back: they stay where they went');
$home{$_} = $now{$_} for @of_a;

# ---- clearing ----
like(scalar $sy->ctl('persistence'), qr/127\.0\.2\.7\b.*main/, 'steelyardctl persistence lists');
is_deeply([ map { $_->{key} } @{ $sy->api('GET', '/v1/persistence?client=127.0.2.7')->{entries} } ], ['127.0.2.7'],
	'one client can be looked up');
my ($out, $status) = $sy->ctl('persistence', 'clear', '--client', '127.0.2.7x');
isnt($status, 0, 'what is no address is refused');
($out, $status) = $sy->ctl('persistence', 'clear', '--client', '127.0.2.7');
is($status, 0, 'clear one client') or diag($out);
like($out, qr/^1 entries/, 'one');
ok(!entry('main', '127.0.2.7'), 'its entry is gone');
ok(entry('main', '127.0.2.8'), "another's is there");
($out, $status) = $sy->ctl('persistence', 'clear', '--server', 'b');
is($status, 0, 'clear a server') or diag($out);
is(scalar(grep { $_->{server} eq 'b' } @{ entries() }), 0, 'no entry names it');
($out, $status) = $sy->ctl('persistence', 'clear', '--service', 'main');
is($status, 0, 'clear a service') or diag($out);
is(scalar(grep { $_->{service} eq 'main' } @{ entries() }), 0, 'it has no entry');
ok(scalar(grep { $_->{service} eq 'nets' } @{ entries() }), 'another service has');

is($sy->stop, 0, 'the daemon ends well');
done_testing;
