#!/usr/bin/env perl
# A big farm: 500 virtual services with 20 servers each. Load time, start time and memory are printed;
# the limits asserted are generous, since test machines are shared.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Steelyard;
use Time::HiRes qw(time);
use File::Temp qw(tempdir);

my ($services, $servers) = (500, 20);
my $conf = '';
for my $s (1 .. $services) {
	my ($a, $b) = (int($s / 250), $s % 250 + 1);
	$conf .= "pool pool$s {\n";
	$conf .= sprintf "\tserver server%d 127.%d.%d.%d:80 weight=%d;\n", $_, 100 + $a, $b, $_, $_ for 1 .. $servers;
	$conf .= "}\nvirtual-service service$s {\n\tlisten 127.90.$a.$b:0;\n\tpool pool$s;\n"
		. "\tscheduler least-connections;\n\tpersistence source;\n}\n";
}
my $dir = tempdir(CLEANUP => 1);
my $file = "$dir/steelyard.conf";
open my $out, '>', $file or die $!;
print $out $conf;
close $out;

my $best;
for (1 .. 3) {
	my $start = time;
	my $text = Steelyard::steelyardd() . " -t -c $file -m " . Steelyard::modules();
	my $said = `$text 2>&1`;
	is($?, 0, 'the configuration is good') or diag $said;
	my $took = time - $start;
	$best = $took if !defined $best || $took < $best;
}
diag sprintf '%d services with %d servers each: tested in %.3f s', $services, $servers, $best;
cmp_ok($best, '<', 5, 'in reasonable time on a busy machine; the aim is under 1 s');

my $start = time;
my $sy = Steelyard->start($conf);
my $took = time - $start;
diag sprintf 'from start to ready: %.3f s', $took;
cmp_ok($took, '<', 30, 'it starts');
my $status = $sy->api('GET', '/v1/status');
is($status->{services_total}, $services, "$services services");
my $all = 0;
my @processes = map { [ "$_->{role}" . (defined $_->{index} ? " $_->{index}" : ''), $_->{pid} ] } @{ $sy->processes };
for (['master', $sy->{pid}], @processes) {
	my ($name, $pid) = @$_;
	my $kib = 0;
	if (open my $in, '<', "/proc/$pid/smaps_rollup") {
		while (<$in>) {
			$kib = $1 if /^Pss:\s+(\d+)/;
		}
	}
	$all += $kib;
	diag sprintf '  %-10s %6d KiB', $name, $kib;
}
diag sprintf '  all        %6d KiB', $all;
cmp_ok($all, '<', 512 * 1024, 'memory is bounded');
$start = time;
my ($ok, $text) = $sy->reload($conf . "# changed\n");
ok($ok, 'reload') or diag $text;
diag sprintf 'reload: %.3f s', time - $start;
$start = time;
$sy->api('GET', '/v1/services');
diag sprintf 'GET /v1/services: %.3f s', time - $start;
is($sy->stop, 0, 'it ends well');
done_testing;
