#!/usr/bin/env perl
# The manual pages say all that there is: every directive that -T can print, every module, every option;
# and mandoc has nothing to complain about.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use File::Temp qw(tempdir);
use Test::More;
use Steelyard;

my $dir = tempdir('steelyard-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my ($src, $build) = (Steelyard::src_dir(), Steelyard::build_dir());
my $steelyardd = Steelyard::steelyardd();
my $modules = Steelyard::modules();

sub slurp {
	my $file = shift;
	open my $in, '<', $file or return undef;
	local $/;
	return scalar <$in>;
}

my $manual = `$steelyardd --manual -m $modules`;
is($?, 0, '--manual succeeds');
my %item = map { $_ => 1 } $manual =~ /^\.It Ic (\S+)/mg;

my @kinds = qw(protocol monitor scheduler persistence);
for my $so (map { glob "$modules/$_/*.so" } @kinds) {
	my ($kind, $name) = $so =~ m{/(\w+)/([^/]+)\.so$};
	like($manual, qr/^\.Ss $kind \Q$name\E$/m, "$kind $name is told");
}

# One service with each monitor, so that -T shows what each of them understands.
open my $conf, '>', "$dir/steelyard.conf" or die $!;
print $conf "user nobody;\n" if $> == 0;
print $conf "tables { } console { listen 127.0.0.1:0; }\npool p { server s 127.0.0.1; }\n",
	"virtual-service v { listen 127.0.0.1:0; pool p; persistence source; monitor tcp; monitor tls; monitor icmp; }\n";
close $conf;
my @names = do { my %n; $n{$1}++ while `$steelyardd -T -m $modules -c $dir/steelyard.conf` =~ /^\t*([\w-]+)/mg; sort keys %n };
cmp_ok(scalar @names, '>', 40, 'there are many directives: ' . @names);
is_deeply([grep { !$item{$_} } @names], [], 'all that -T prints is in the manual');

# The page that the build made holds what the program says now.
my $page = slurp("$build/core/conf/steelyard.conf.5");
SKIP: {
	skip 'the page was not built', 1 unless defined $page;
	ok(index($page, $manual) >= 0, 'the page is not stale');
}

# The options of the program are in its page, and the other way round.
my $usage = `$steelyardd -h`;
my $daemon = slurp("$src/core/role/steelyardd.8");
is(join(' ', sort $daemon =~ /^\.It Fl -?([\w-]+)/mg), join(' ', sort $usage =~ /^  --?([\w-]+)/mg),
	'options in usage and in the page');

SKIP: {
	my @pages = grep { -f } "$build/core/conf/steelyard.conf.5", "$src/core/role/steelyardd.8",
		"$src/core/ctl/steelyardctl.1";
	skip 'no mandoc here', 1 if system('command -v mandoc >/dev/null 2>&1') != 0;
	# What it says of its own database comes on standard error, in the middle of a line.
	my @said = grep { !/referenced manual not found|input text line longer than 80|operating system explicitly/ }
		split /\n/, `mandoc -T lint @pages 2>/dev/null`;
	is_deeply(\@said, [], 'mandoc has nothing to say');
}

# The examples in the page are good.
if (defined $page) {
	my ($examples) = $page =~ /^\.Sh EXAMPLES\n(.*?)^\.Sh/ms;
	my $text = join '', $examples =~ /^\.Bd -literal[^\n]*\n(.*?)^\.Ed/msg;
	$text =~ s/^user .*\n//m;
	open my $out, '>', "$dir/example.conf" or die $!;
	print $out $> == 0 ? "user nobody;\n" : '', $text,
		"pool front-ends { server fe1 10.0.0.11; server fe2 10.0.0.12; }\npool sorry { server s 10.0.0.13; }\n",
		"pool exchange { server ex1 10.0.0.31; }\n";
	close $out;
	my $said = `$steelyardd -t -m $modules -c $dir/example.conf 2>&1`;
	like($said, qr/is good: 4 services, 6 servers$/, 'the examples are good') or diag $said;
	unlike($said, qr/warning/, 'and nothing is odd about them');
}

done_testing;
