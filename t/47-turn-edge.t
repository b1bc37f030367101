#!/usr/bin/env perl
# Microsoft's TURN: libnice as a client of Lync and Skype for Business, two A/V Edges of the lab, Steelyard
# between them: UDP, TCP, and TCP with the hello that only looks like TLS. One address carries others, too.
use strict;
use warnings;
use lib ($ENV{STEELYARD_SRC} || '.') . '/t/lib';
use File::Temp ();
use IO::Select;
use IO::Socket::IP;
use Steelyard;
use Test::More;
use Turn;

my $build = Steelyard::build_dir();
my $nice = "$build/t/helper-nice";
plan skip_all => 'needs libnice-dev' unless -x $nice;

# A 401 sends clients to the very Edge that answered (Alternate Server), and libnice goes there; two more
# Edges name none, so that it stays.
my %edge = map { $_ => Turn::host() } qw(edge1 edge2 edge3 edge4);
my (@pids, $owner);
$owner = $$;
sub lab {
	my ($args, @names) = @_;
	pipe my $ready, my $tell or die $!;
	my $pid = fork // die "fork: $!";
	if (!$pid) {
		close $ready;
		require Fcntl;
		fcntl $tell, Fcntl::F_SETFD(), 0;
		exec "$build/contrib/lab/lab-server", '--with-parent', '--ready-fd', fileno $tell, @$args,
			map { ($_, $edge{$_}, '3478/udp:turn,443/tcp:turn,5061/tcp,80/tcp:web') } @names
			or POSIX::_exit(127);
	}
	close $tell;
	push @pids, $pid;
	like(scalar <$ready>, qr/^ready/, 'Edges of the lab');
}
lab([], 'edge1', 'edge2');
lab(['--stay'], 'edge3', 'edge4');
END {
	if ($owner == $$) {
		local $?;
		kill 'TERM', @pids;
		waitpid $_, 0 for @pids;
	}
}

sub servers { my $port = shift; my @names = @_; join ' ', map { "server $_ $edge{$_}:$port;" } @names ? @names : ('edge1', 'edge2') }
my $dir = File::Temp->newdir;
sub secret { my ($name, $text) = @_; open my $out, '>', "$dir/$name"; print $out "$text\n"; close $out; "$dir/$name" }
my $password = secret('password', 'lab-password');
my $monitor = "monitor turn { dialect microsoft; interval 30s; timeout 25s; port %s; transport %s; depth %s; " .
	"username lab-user; password $password; }";
my $sy = Steelyard->start(sprintf <<"CONF", map { sprintf $monitor, @$_ } ['3478', 'udp', 'relay'], ['443', 'pseudo-tls', 'relay'], ['443', 'tcp', 'allocate'], ['3478', 'udp', 'challenge']);
pool udp { @{[ servers(3478) ]} }
pool tcp { @{[ servers(443) ]} }
pool sip { @{[ servers(5061) ]} }
pool web { @{[ servers(80) ]} }
virtual-service av-udp { listen 127.0.0.1:0/udp; protocol turn; pool udp; %s }
virtual-service av-tcp {
	listen 127.0.0.1:0; pool tcp; scheduler round-robin; %s
	protocol turn { other sip { pool sip; } other http { pool web; } other tls { pool sip; } }
}
pool stay-udp { @{[ servers(3478, 'edge3', 'edge4') ]} }
pool stay-tcp { @{[ servers(443, 'edge3', 'edge4') ]} }
virtual-service stay-udp { listen 127.0.0.1:0/udp; protocol turn; pool stay-udp; monitor off; }
virtual-service stay-tcp { listen 127.0.0.1:0; protocol turn; pool stay-tcp; monitor off; }
virtual-service allocate { listen 127.0.0.1:0; protocol turn; pool tcp; %s }
virtual-service challenge { listen 127.0.0.1:0/udp; protocol turn; pool udp; %s }
CONF

sub figures {
	my $name = shift;
	my ($service) = grep { $_->{name} eq $name } @{ $sy->api('GET', '/v1/services')->{services} };
	return $service->{figures};
}

for my $case (['av-udp', 'relays there and back'], ['av-tcp', 'relays there and back'], ['allocate', 'allocates at'],
	['challenge', 'asks for credentials, realm rtcmedia']) {
	my ($name, $words) = @$case;
	for my $edge ('edge1', 'edge2') {
		$sy->wait_up($name, $edge);
		like($sy->seat($name, $edge)->{why}, qr/\Q$words\E/, "monitor of $name: $edge $words");
	}
}

for my $case (['udp', 'av-udp'], ['tcp', 'av-tcp'], ['pseudo-tls', 'av-tcp'], ['udp', 'stay-udp'], ['tcp', 'stay-tcp'],
	['pseudo-tls', 'stay-tcp']) {
	my ($over, $service) = @$case;
	my $before = figures($service);
	my $said = `$nice $over 127.0.0.1 @{[ $sy->port($service) ]} 2>&1`;
	like($said, qr/^relayed .*^ready.*^echo/ms, "libnice over $over, $service: relayed, and an echo came through")
		or diag $said;
	my $after = figures($service);
	cmp_ok($after->{allocate_challenges}, '>', $before->{allocate_challenges}, 'its challenge was seen');
	is($after->{"garbage_$_"}, $before->{"garbage_$_"}, "nothing was garbage: $_") for qw(length kind attributes);
	next unless $service =~ /stay/;
	cmp_ok($after->{allocate_successes}, '>', $before->{allocate_successes}, 'its allocation was known');
	cmp_ok($after->{send_indications}, '>', $before->{send_indications}, 'and what it sent');
}
Steelyard::wait_for('the allocations over TCP to end', sub { figures('stay-tcp')->{allocations} == 0 });
pass('allocations over TCP end with their connections');

# What else comes to that address.
my $tcp = $sy->port('av-tcp');
sub ask {
	my $bytes = shift;
	my $sock = IO::Socket::IP->new(PeerHost => '127.0.0.1', PeerPort => $tcp) or die "connect: $@";
	syswrite $sock, $bytes;
	IO::Select->new($sock)->can_read($Steelyard::LIMIT) or return 'late';
	sysread $sock, my $got, 65536;
	return $got // 'reset';
}
like(ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), qr{^HTTP/1.1 200 OK.*edge[12] 80}s, 'HTTP goes to the web pool');
like(ask("OPTIONS sip:a SIP/2.0\r\n\r\n"), qr/edge[12] 5061|5061/, 'SIP to its own') ;
is(ask("\x30" x 40), '', 'the rest nowhere: the connection is closed');
is(figures('av-tcp')->{other_connections}, 2, 'both were counted');
$sy->stop;
done_testing();
