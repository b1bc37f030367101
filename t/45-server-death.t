#!/usr/bin/env perl
# A server that dies under load: out within one failed probe plus `fall`, its connections reset with a
# reason, no new client waits longer than one failed connect; and it comes back slowly.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Steelyard;
use Crowd qw(wait_for);
use Time::HiRes qw(time);

# Milliseconds. Slack is for machines that do something else besides.
my %t = (interval => 1000, timeout => 300, fast => 200, connect => 600, slack => 1500);
my $slow_start = 6;
my @servers = map { Crowd::Server->new("s$_") } 1 .. 3;
my $pool = join '', map { "\tserver s$_ 127.0.0.1:" . $servers[$_ - 1]->port . ";\n" } 1 .. 3;
my $rest = "\tmonitor tcp { interval $t{interval}ms; timeout $t{timeout}ms; fast-interval $t{fast}ms; fall 2; rise 2; }\n"
	. "\tconnect-timeout $t{connect}ms;\n\tscheduler round-robin;\n";
my $sy = Steelyard->start(<<CONF);
pool p {
$pool	slow-start ${slow_start}s;
}
virtual-service web {
	listen 127.0.0.1:0;
	pool p;
$rest}
virtual-service kept {
	listen 127.0.0.1:0;
	pool p;
	on-down keep;
$rest}
CONF
for my $service (qw(web kept)) {
	$sy->wait_up($service, "s$_") for 1 .. 3;
}

my $crowd = Crowd->new('127.0.0.1:' . $sy->port('web'), hold => 60, every => 50, rate => 200, reopen => 1, late => 20_000);
my $kept = Crowd->new('127.0.0.1:' . $sy->port('kept'), hold => 12, every => 50, late => 60_000);
$crowd->wait('the crowd', sub { $_[0]{held} == 60 && $_[0]{new_ok} > 200 });
$kept->wait('those who are kept', sub { $_[0]{held} == 12 });

# Shares of new connections from now on, over so many.
sub shares {
	my ($n) = @_;
	my $from = $crowd->report;
	my $to = $crowd->wait("$n new connections", sub { $_[0]{new_ok} - $from->{new_ok} >= $n });
	my $all = $to->{new_ok} - $from->{new_ok};
	return map { (($to->{by}{$_} // 0) - ($from->{by}{$_} // 0)) / $all } qw(s1 s2 s3);
}
sub on_server { return (grep { $_->{name} eq $_[1] } @{ $sy->api('GET', "/v1/services/$_[0]")->{servers} })[0]{active} }
sub percent { return join ' ', map { sprintf '%.0f %%', 100 * $_ } @_ }

my @even = shares(300);
diag 'shares of new connections: ' . percent(@even);
ok((!grep { $_ < 0.25 || $_ > 0.42 } @even), 'each of three gets a third');

subtest 'a machine without power' => sub {
	my $before = $crowd->report;
	my $on = grep { ($_->{server} // '') eq 's2' && ($_->{bytes_down} // 0) > 0 && $_->{age_ms} > 500 }
		@{ $sy->api('GET', '/v1/connections?service=web&limit=1000')->{connections} };
	cmp_ok($on, '>', 10, "$on connections stay on s2");
	my $start = time;
	$servers[1]->freeze;
	$sy->wait_down('web', 's2');
	my $took = 1000 * (time - $start);
	my $most = $t{interval} + $t{timeout} + $t{fast} + $t{timeout};
	diag sprintf 'down after %.0f ms; a probe and one more take %d ms at most', $took, $most;
	cmp_ok($took, '<', $most + $t{slack}, 'down within one failed probe plus fall');
	like($sy->seat('web', 's2')->{why}, qr/tcp 127\.0\.0\.1:\d+: .*300 ?ms/, 'with the reason: ' . $sy->seat('web', 's2')->{why});
	my $r = $crowd->wait('its connections to be reset', sub { $_[0]{lost} - $before->{lost} >= $on });
	is($r->{lost_eof}, $before->{lost_eof}, 'by a reset, not by an end that looks orderly');
	is($r->{lost_by}{s2} // 0, $r->{lost}, 'those of s2 and no others');
	my @lines = wait_for('the log lines of all', sub {
		my @all = grep { /end=server-down/ } split /\n/, $sy->log_text;
		@all >= $on ? \@all : undef;
	});
	is(scalar(grep { !/server=s2 / } @{ $lines[0] }), 0, 'each line of the log says s2');
	like($lines[0][0], qr/server went down: tcp 127\.0\.0\.1:\d+: /, "and why: $lines[0][0]");
	like($sy->log_text, qr/(?:warn|err|info) checker: .*s2.*down/, 'the checker has said so, too');
	my $later = $crowd->wait('all are held again', sub { $_[0]{held} == 60 });
	# But for those who had a connection to it and were not answered yet when the power went.
	my $unanswered = grep { / service=web .* down=0 end=server-down/ } split /\n/, $sy->log_text;
	cmp_ok($later->{new_failed}, '<=', $unanswered, "no new client failed ($unanswered had no answer yet)") or diag $later->{words};
	# new_max is since the last report; the ones before have been looked at by wait().
	cmp_ok($took, '>', 0, 'time went by');
	$start = time;
	my @two = shares(200);
	is($two[1], 0, 'nobody is sent to it any more: ' . percent(@two));
};

# Again, looking at how long new clients wait from the first moment to the last.
subtest 'new clients wait for one connect at most' => sub {
	$servers[1]->thaw;
	$sy->wait_up('web', 's2');
	$crowd->wait('full again', sub { 1 });
	my @back = shares(100);
	diag 'just back: ' . percent(@back);
	cmp_ok($back[1], '<', 0.2, 'it begins with less than its share');
	my ($early) = $back[1];
	wait_for('slow start to be over', sub { (shares(150))[1] > 0.27 }, $slow_start + 10);
	my @full = shares(300);
	diag 'after slow start: ' . percent(@full);
	cmp_ok($full[1], '>', $early, 'its share has grown');
	ok((!grep { $_ < 0.25 || $_ > 0.42 } @full), 'to a third');

	$crowd->report; # times count from here
	$servers[1]->freeze;
	my ($max, $r) = (0);
	my $from = $crowd->report;
	wait_for('down', sub {
		$r = $crowd->report;
		$max = $r->{new_max} if $r->{new_max} > $max;
		$sy->seat('web', 's2')->{state} eq 'down';
	});
	$crowd->wait('the last that had waited', sub { $r = $_[0]; $max = $r->{new_max} if $r->{new_max} > $max; $r->{pending} < 5 });
	diag "the slowest new client waited $max ms; connect-timeout is $t{connect} ms";
	# One may have got into the queue of the server before it was full: it was connected, and is reset.
	cmp_ok($r->{new_failed}, '<=', 1, 'none failed who was not connected yet') or diag $r->{words};
	cmp_ok($max, '<', $t{connect} + $t{slack}, 'none waited longer than for one failed connect');
	$servers[1]->thaw;
	$sy->wait_up('web', 's2');
};

subtest 'on-down keep' => sub {
	my $from = $kept->report;
	my $r = $kept->wait('an exchange over each', sub { $_[0]{exchanges} > $from->{exchanges} + 100 });
	is($r->{lost}, 0, 'they have seen two deaths, and none was closed');
	is($r->{held}, 12, 'all are there');
};

subtest 'a server process that is killed' => sub {
	$crowd->wait('all to be held', sub { $_[0]{held} == 60 });
	my $before = $crowd->report;
	my $start = time;
	$servers[2]->kill;
	$sy->wait_down('web', 's3');
	my $took = 1000 * (time - $start);
	diag sprintf 'refused: down after %.0f ms', $took;
	cmp_ok($took, '<', $t{interval} + $t{fast} + $t{slack}, 'down within one failed probe plus fall');
	like($sy->seat('web', 's3')->{why}, qr/refused/, 'with the reason');
	my $r = $crowd->wait('all to be held by the others', sub { $_[0]{held} == 60 });
	my $by = $r->{lost_by}{s3} - ($before->{lost_by}{s3} // 0);
	is($r->{lost} - $before->{lost}, $by, "its $by connections are lost, and no others");
	# Those who were in the middle of their exchange with it are lost with it; there is no other way. On a busy
	# machine they are more.
	cmp_ok($r->{new_failed} - $before->{new_failed}, '<=', 3 + $before->{pending}, 'new ones: at most those that it was just serving');
	cmp_ok($r->{new_max}, '<', $t{slack}, "the slowest waited $r->{new_max} ms");
	$servers[2]->again;
	$sy->wait_up('web', 's3');
	my @share = shares(60);
	cmp_ok($share[2], '<', 0.25, 'back, and slowly: ' . percent(@share));
};

$crowd->stop;
$kept->stop;
$servers[1]->thaw;
is($sy->stop, 0, 'it ends well');
done_testing;
