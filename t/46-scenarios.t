#!/usr/bin/env perl
# The lab's scenarios, each with its verdict.
use strict;
use warnings;
use lib ($ENV{STEELYARD_SRC} || '.') . '/t/lib';
use Steelyard;
use Test::More;

plan skip_all => 'needs root for ports below 1024' if $> != 0;
my $script = Steelyard::src_dir() . '/contrib/lab/scenario';
my @names = map { (split)[0] } `$^X $script list`;
is_deeply(\@names, [qw(patch-tuesday edge-failure certificate-renewal server-added balancer-reload)], 'what there is');
for my $name (@names) {
	my $said = `$^X $script $name 2>&1`;
	ok($? == 0 && $said =~ /^well +\Q$name\E/m, $name) or diag $said;
	note $said;
}
done_testing;
