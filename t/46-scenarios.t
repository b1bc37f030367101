#!/usr/bin/env perl
# The lab's scenarios, each with its verdict: each on a loopback of its own, two at a time. And what they say of a
# balancer that is not right.
use strict;
use warnings;
use lib ($ENV{STEELYARD_SRC} || '.') . '/t/lib';
use Steelyard;
use Test::More;

plan skip_all => 'needs root for ports below 1024' if $> != 0;
plan skip_all => 'needs network namespaces' if system 'unshare -n true 2>/dev/null';
my $script = Steelyard::src_dir() . '/contrib/lab/scenario';
my @names = map { (split)[0] } `$^X $script list`;
is_deeply(\@names, [qw(patch-tuesday edge-failure certificate-renewal server-added web-users balancer-reload)], 'what there is');

my @cases = ((map { [$_, qr/^well +\Q$_\E/m, 0] } @names),
	['--without pin web-users', qr/^NOT WELL +web-users.*(?:over the connection of another user|exchanges failed)/m, 1],
	['--without cookie web-users', qr/^NOT WELL +web-users.*web sessions were not found again/m, 1]);
my @running;
while (@cases || @running) {
	while (@cases && @running < 2) {
		my $case = shift @cases;
		open my $out, '-|', 'unshare', '-n', 'sh', '-c', "ip link set lo up && exec $^X $script $case->[0] 2>&1" or die $!;
		push @running, [@$case, $out];
	}
	my ($name, $wanted, $bad, $out) = @{ shift @running };
	my $said = do { local $/; <$out> // '' };
	close $out;
	ok(!!$? == !!$bad && $said =~ $wanted, $bad ? "$name: it is not well, and says why" : $name) or diag $said;
	note $said;
}
done_testing;
