#!/usr/bin/env perl
# What an idle TLS connection costs the worker: 2,000 of TLS 1.3 and 500 of TLS 1.2, each of which has
# carried an exchange; when they rest, and when they speak again. Kernel memory is not in it.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Certificates;
use Crowd qw(memory sanitized wait_for);
use IO::Socket::INET;
use IO::Socket::SSL;
use Steelyard;

plan skip_all => 'built with sanitizers: memory says nothing' if sanitized();
my $most = 10;

my $certs = Certificates->new;
$certs->authority('ca');
$certs->issue('web', ca => 'ca', key => 'ec', names => ['web.example.net']);
my $dir = $certs->dir;
my $echo = Crowd::Server->new('s1');
my $conf = <<CONF;
workers 1;
pool p { server s1 127.0.0.1:@{[ $echo->port ]}; }
virtual-service web { listen 127.0.0.1:0 { tls { certificate $dir/web.crt; key $dir/web.key; } } pool p; monitor off; }
CONF
my ($sy, $port, $worker);

# Without IO::Socket::SSL: it is the client that takes the time here.
sub connections {
	my ($count, $version) = @_;
	my $ctx = Net::SSLeay::CTX_new();
	Net::SSLeay::CTX_set_min_proto_version($ctx, $version);
	Net::SSLeay::CTX_set_max_proto_version($ctx, $version);
	my @conns;
	for (1 .. $count) {
		my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) or last;
		my $ssl = Net::SSLeay::new($ctx);
		Net::SSLeay::set_fd($ssl, fileno $sock);
		Net::SSLeay::set_tlsext_host_name($ssl, 'web.example.net');
		last unless Net::SSLeay::connect($ssl) == 1;
		push @conns, [$ssl, $sock];
		last unless ask($conns[-1]);
	}
	return @conns;
}

sub ask { my $ssl = $_[0][0]; return Net::SSLeay::write($ssl, "x\n") && Net::SSLeay::read($ssl) }

sub settled {
	my $last = 0;
	wait_for('memory to settle', sub { my $now = memory($worker)->{own}; my $same = $now == $last; $last = $now; $same });
	return $last;
}

for (['TLSv1.2', 0x303, 500], ['TLSv1.3', 0x304, 2000]) {
	my ($version, $number, $n) = @$_;
	$sy = Steelyard->start($conf);
	($port, $worker) = ($sy->port('web'), $sy->pid_of('worker'));
	my @first = connections(50, $number);
	my $before = settled();
	my @conns = connections($n, $number);
	is(scalar @conns, $n, "$version: $n connections, an exchange over each");
	my $each = sub { (memory($worker)->{own} - $before) / $n };
	my $busy = $each->();
	eval { wait_for('them to rest', sub { $each->() <= $most }) };
	settled();
	my $rest = $each->();
	diag sprintf '%s: %.1f KiB each when they have spoken, %.1f KiB at rest (at most %.0f; aim 9)', $version, $busy, $rest, $most;
	cmp_ok($rest, '<=', $most, "$version: an idle connection costs at most $most KiB");
	is(scalar(grep { ask($_) } @conns), $n, "$version: all of them speak again");
	wait_for('them to rest again', sub { $each->() <= $most });
	pass("$version: and rest again");
	Net::SSLeay::free($_->[0]) for @conns, @first;
	@conns = @first = ();
	wait_for('all to be gone', sub { $sy->api('GET', '/v1/status')->{active} == 0 });
	is($sy->stop, 0, 'it ends well');
}
done_testing;
