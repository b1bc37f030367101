#!/usr/bin/env perl
# Reloads under load: 64 connections that stay and talk, and new ones all the time. No exchange fails,
# no connection closes, the processes stay the same, and their memory stays flat.
# STEELYARD_RELOADS says how many (100; by hand 1000).
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Steelyard;
use Crowd qw(memory descriptors sanitized wait_for);
use File::Copy qw(copy);
use File::Temp qw(tempdir);
use IO::Socket::INET;
use Time::HiRes qw(time);

my $reloads = $ENV{STEELYARD_RELOADS} || 100;
my $held = 64;
# Flat: what the allocator's habits may add, whatever the number of reloads. The flight recorder's ring is small,
# so that it is full early: its pages count when they are first written to.
my $growth_most = 256;

my $dir = tempdir(CLEANUP => 1);
my $modules = "$dir/modules";
mkdir $modules;
for my $kind (qw(protocol monitor scheduler persistence)) {
	mkdir "$modules/$kind";
	copy($_, "$modules/$kind/") or die for glob Steelyard::modules() . "/$kind/*.so";
}
chmod 0644, glob "$modules/*/*.so";

my @servers = map { Crowd::Server->new("s$_") } 1 .. 3;
# Each reload has something new: weights, timeouts, a name.
sub conf {
	my ($n, $more, %opt) = @_;
	my $weight = 50 + $n % 50;
	my $scheduler = $opt{scheduler} // 'least-connections';
	my $conf = "pool p {\n";
	$conf .= "\tserver s$_ 127.0.0.1:" . $servers[$_ - 1]->port . ' weight=' . ($weight + $_) . ";\n" for 1 .. 3;
	$conf .= "}\nvirtual-service web {\n\tlisten 127.0.0.1:0;\n\tpool p;\n\tscheduler $scheduler;\n"
		. "\tpersistence source { timeout " . (600 + $n) . "s; }\n\tmonitor tcp { interval " . (1000 + $n % 7) . "ms; }\n"
		. "\tidle-timeout " . (1800 + $n % 5) . "s;\n}\n";
	return ($opt{workers} ? "workers $opt{workers};\n" : '') . "tables { recorder-entries 64; }\n"
		. "log stderr;\nlog-connections off;\n" . $conf . ($more // '');
}
my $sy = Steelyard->start(conf(0), modules => $modules);
$sy->wait_up('web', "s$_") for 1 .. 3;
my $port = $sy->port('web');

sub children {
	return { map { ("$_->{role}" . ($_->{index} // '') => $_->{pid}) } grep { $_->{pid} } @{ $sy->processes } };
}
my $children = children();
my @workers = map { $children->{$_} } grep { /^worker/ } sort keys %$children;

my $crowd = Crowd->new("127.0.0.1:$port", hold => $held, every => 20, rate => 100, sources => 60);
$crowd->wait('the crowd', sub { $_[0]{held} == $held && $_[0]{new_ok} > 10 });

# What must hold after each part.
sub unharmed {
	my ($what, %opt) = @_;
	my $r = $crowd->wait('fresh exchanges', do {
		my $from = $crowd->report;
		sub { $_[0]{exchanges} > $from->{exchanges} + $held && $_[0]{new_ok} > $from->{new_ok} }
	});
	subtest "$what: nobody noticed" => sub {
		is($r->{held}, $held, "all $held are still there");
		is($r->{lost}, 0, 'none was closed') or diag $r->{words};
		is($r->{late} + $r->{wrong}, 0, 'each exchange was answered');
		is($r->{new_failed}, 0, 'no new one failed') or diag $r->{words};
		is($r->{moved}, 0, 'each client kept its server');
		is_deeply(children(), $children, 'the processes are the same') unless $opt{others};
	};
	return $r;
}

my (@memory, @descriptors, $slowest);
my $began = time;
my $failed = 0;
for my $n (1 .. $reloads) {
	my $start = time;
	my ($ok, $text) = $sy->reload(conf($n));
	$failed++, diag $text unless $ok;
	my $took = time - $start;
	$slowest = $took if !defined $slowest || $took > $slowest;
	if ($n == int($reloads / 10) || $n == $reloads) {
		push @memory, [ map { memory($_)->{own} } @workers, $children->{checker}, $children->{console}, $sy->{pid} ];
		push @descriptors, [ map { descriptors($_) } $children->{checker}, $children->{console}, $sy->{pid} ];
	}
}
is($failed, 0, "$reloads reloads, all accepted");
diag sprintf '%d reloads in %.1f s, the slowest took %.0f ms', $reloads, time - $began, $slowest * 1000;
my $r = unharmed("$reloads reloads");
diag sprintf '%d exchanges on connections that stayed, the slowest %d ms; %d new connections', $r->{exchanges},
	$r->{exchange_max}, $r->{new_ok};
my @names = ((map { "worker $_" } 0 .. $#workers), 'checker', 'console', 'master');
SKIP: {
	skip 'built with sanitizers: memory says nothing', scalar @names if sanitized();
	for my $i (0 .. $#names) {
		my ($early, $late) = ($memory[0][$i], $memory[1][$i]);
		diag sprintf '%-9s own memory %5d KiB after %d reloads, %5d KiB after %d', $names[$i], $early, $reloads / 10, $late, $reloads;
		cmp_ok($late - $early, '<=', $growth_most, "memory of $names[$i] is flat after the first tenth");
	}
}
# A reload in the making, or an answer on its way, holds a few.
for my $i (0 .. 2) {
	my ($name, $early, $late) = ((qw(checker console master))[$i], $descriptors[0][$i], $descriptors[1][$i]);
	cmp_ok($late - $early, '<=', 8, "$name holds as many descriptors as before ($early, $late)");
}
# 64 connections hold the generation that they began in; those without any are gone.
my $generations = $sy->api('GET', '/v1/generations')->{generations};
cmp_ok(scalar @$generations, '<=', 3, 'old generations do not pile up') or diag explain $generations;

subtest 'twenty HUPs in quick succession' => sub {
	$sy->write_conf(conf(5000, "virtual-service last { listen 127.0.0.1:0; pool p; }\n"));
	kill('HUP', $sy->{pid}), select(undef, undef, undef, 0.002) for 1 .. 20;
	my ($last) = wait_for('the last word to count', sub { eval { $sy->port('last') } });
	ok($last, 'the service of the last configuration is there');
	my ($ok, $text) = $sy->reload;
	ok($ok, 'and a reload afterwards goes well') or diag $text;
};
unharmed('20 HUPs');

subtest 'fail, repair, reload' => sub {
	for my $n (1 .. 3) {
		my ($ok, $text) = $sy->reload(conf(6000 + $n, "virtual-service broken { listen nowhere; pool q; }\n"));
		ok(!$ok, 'a broken one is refused');
		like($text, qr/nowhere/, 'in words');
		($ok, $text) = $sy->reload(conf(6100 + $n));
		ok($ok, 'repaired, it is taken') or diag $text;
	}
};
unharmed('failed reloads');

subtest 'workers: 2, 5, 1, 2' => sub {
	for my $n (5, 1, 2) {
		my ($ok, $text) = $sy->reload(conf(7000 + $n, '', workers => $n));
		ok($ok, "workers $n") or diag $text;
		my $before = $crowd->report;
		$crowd->wait('a hundred new ones', sub { $_[0]{new_ok} + $_[0]{new_failed} > $before->{new_ok} + $before->{new_failed} + 100 });
	}
};
unharmed('workers come and go', others => 1);
$children = children();

subtest 'listeners come and go' => sub {
	for my $n (1 .. 5) {
		my ($ok, $text) = $sy->reload(conf(8000 + $n, "virtual-service extra { listen 127.0.0.1:0 127.0.0.2:0; pool p; }\n"));
		ok($ok, 'one comes') or diag $text;
		my $extra = $sy->port('extra');
		my $conn = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $extra, Timeout => 10);
		ok($conn, 'it takes a client') or next;
		print $conn "hello\n";
		like(scalar <$conn>, qr/^s\d: hello/, 'and serves it');
		($ok, $text) = $sy->reload(conf(8100 + $n));
		ok($ok, 'it goes') or diag $text;
		print $conn "again\n";
		like(scalar <$conn>, qr/^s\d: again/, 'its client is served on');
	}
};
unharmed('listeners come and go');

subtest 'a module file on disk is replaced' => sub {
	my $file = "$modules/scheduler/least-connections.so";
	copy($file, "$dir/good.so");
	copy($file, "$file.new");
	rename "$file.new", $file;
	my ($ok, $text) = $sy->reload(conf(9001));
	ok($ok, 'by rename, with a good one') or diag $text;
	# In place: open, truncate, write: what install(1) does not do, and people do.
	for my $bytes (substr(slurp("$dir/good.so"), 0, 4000), "no module at all\n", '', "\0" x 20000) {
		open my $out, '>', $file or die $!;
		syswrite $out, $bytes;
		close $out;
		($ok, $text) = $sy->reload(conf(9002 + length $bytes));
		ok(!$ok, sprintf 'in place, with %d bytes that are none: refused', length $bytes);
		like($text, qr/least-connections/, 'and named') or diag $text;
		my $from = $crowd->report;
		$crowd->wait('new ones meanwhile', sub { $_[0]{new_ok} > $from->{new_ok} + 5 });
	}
	copy("$dir/good.so", $file);
	($ok, $text) = $sy->reload(conf(9003));
	ok($ok, 'in place, with the good one again') or diag $text;
	($ok, $text) = $sy->reload(conf(9004, '', scheduler => 'random-two'));
	ok($ok, 'another scheduler') or diag $text;
	unlink $file;
	($ok, $text) = $sy->reload(conf(9005, '', scheduler => 'random-two'));
	ok($ok, 'a module that nobody wants may go') or diag $text;
	($ok, $text) = $sy->reload(conf(9006));
	ok(!$ok, 'one that is wanted is missed');
	copy("$dir/good.so", $file);
	($ok, $text) = $sy->reload(conf(9007));
	ok($ok, 'and found again') or diag $text;
};
unharmed('modules on disk');

sub slurp {
	open my $in, '<', $_[0] or die $!;
	local $/;
	return <$in>;
}

$crowd->stop;
my @trouble = grep { /\berr\b/ && !/reload|refused|steelyard\.conf|least-connections|nothing was changed/ } split /\n/, $sy->log_text;
is_deeply(\@trouble, [], 'nothing else was an error') or diag join "\n", @trouble;
is($sy->stop, 0, 'it ends well');
done_testing;
