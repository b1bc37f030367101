# The lab's servers and crowds (contrib/lab) for tests, each where the test wants it: on this machine's
# loopback, or in network namespaces that the test makes.
#
#	my $net = Farm::Net->new('lb', 'fe1');            # namespaces; gone at the end
#	my $server = Farm::Server->new($dir, 'fe1', ['10.0.0.11', 'front-end'], wrap => $net->in('fe1'));
#	$server->kill;                                    # SIGKILL; $server->again
#	my $crowd = Farm::Crowd->new($dir, $targets, wrap => ..., source => ...);
#	my $report = $crowd->end;                         # what it says of itself
package Farm;
use strict;
use warnings;
use JSON::PP ();
use POSIX qw(WNOHANG);
use Steelyard;

sub lab { Steelyard::build_dir() . "/contrib/lab/$_[0]" }

# Starts a command that writes a line to descriptor 3 when it is ready: (pid, the pipe's end).
sub start {
	my ($log, @cmd) = @_;
	pipe my $ready, my $told or die "pipe: $!";
	my $pid = fork // die "fork: $!";
	if (!$pid) {
		Steelyard::die_with_parent();
		POSIX::dup2(fileno $told, 3);
		open STDIN, '<', '/dev/null';
		open STDOUT, '>>', $log;
		open STDERR, '>&', \*STDOUT;
		exec @cmd or POSIX::_exit(127);
	}
	close $told;
	return ($pid, $ready);
}

sub wait_ready {
	my ($what, $pid, $ready, $log) = @_;
	require IO::Select;
	my $line;
	IO::Select->new($ready)->can_read($Steelyard::LIMIT) and $line = <$ready>;
	return $line if defined $line;
	open my $in, '<', $log or die "$what did not start";
	local $/;
	die "$what did not start:\n" . <$in>;
}

# Until each server is up wherever it is used, but for "SERVICE SERVER POOL" ....
sub wait_all_up {
	my ($sy, @but) = @_;
	my %but = map { $_ => 1 } @but;
	Steelyard::wait_for('all servers to be up', sub {
		my @seats = map { my $s = $_; map { ["$s->{name} $_->{name} $_->{pool}", $_->{state}] } @{ $s->{servers} } } @{ $sy->api('GET', '/v1/services')->{services} };
		!grep { $_->[1] ne 'up' && !$but{ $_->[0] } } @seats;
	});
}

# All ports of a template, [PORT, ...], come to one server of a kind ("web": web1, web2), which the client is kept
# with; and when that is gone, to the other. ask: a port to the name of the server behind it; stop: ends a server.
sub replaced {
	my ($what, $kind, $ask, $stop, @ports) = @_;
	my %first = map { $_->[0] => $ask->(@$_) } @ports;
	Test::More::like($first{ $_->[0] }, qr/^${kind}[12]$/, "$what: port $_->[0] carries traffic") for @ports;
	Test::More::is($ask->(@$_), $first{ $_->[0] }, "$what: and the client is kept") for @ports;
	my $gone = $first{ $ports[0][0] };
	my ($other) = grep { $_ ne $gone } "${kind}1", "${kind}2";
	$stop->($gone);
	my $n = grep { my $port = $_; eval { Steelyard::wait_for('another server', sub { $ask->(@$port) eq $other }) } } @ports;
	Test::More::is($n, scalar @ports, "$what: the other server takes over when $gone dies");
}

package Farm::Net;
use strict;
use warnings;

my $number = 0;

sub new {
	my ($class, @names) = @_;
	my $id = $$ . '-' . $number++;
	my $self = bless { owner => $$, ns => { map { $_ => "sy-$_-$id" } @names } }, $class;
	$self->run('ip', 'netns', 'add', $_) for values %{ $self->{ns} };
	$self->do($_, 'ip link set lo up') for @names;
	return $self;
}

sub run {
	my ($self, @cmd) = @_;
	my $said = `@cmd 2>&1`;
	die "@cmd: $said" if $?;
	return $said;
}

sub in { ('ip', 'netns', 'exec', $_[0]{ns}{ $_[1] }) }
sub do { my ($self, $where, @cmd) = @_; $self->run($self->in($where), @cmd) }

# A bridge in `where`: the interface with the addresses, to which cables lead.
sub bridge {
	my ($self, $where, $name, @addresses) = @_;
	$self->do($where, "ip link add $name type bridge");
	$self->do($where, "ip addr add $_ dev $name") for @addresses;
	$self->do($where, "ip link set $name up");
}

# A cable from there to the bridge, with addresses at its end; `route`: the default gateway.
sub cable {
	my ($self, $where, $to, $bridge, $route, @addresses) = @_;
	my $name = "to-$bridge";
	my $end = "$bridge-$where";
	$self->run("ip link add $name netns $self->{ns}{$where} type veth peer name $end netns $self->{ns}{$to}");
	$self->do($to, "ip link set $end master $bridge up");
	$self->do($where, "ip addr add $_ dev $name") for @addresses;
	$self->do($where, "ip link set $name up");
	$self->do($where, "ip route add default via $route") if $route;
}

sub DESTROY {
	my $self = shift;
	return unless $self->{owner} == $$;
	local ($?, $@, $!);
	system "ip netns del $_ 2>/dev/null" for values %{ $self->{ns} };
}

package Farm::Server;
use strict;
use warnings;

# places: [ADDRESS, ROLE], ...; options: wrap => [command before it], args => [...]
sub new {
	my ($class, $dir, $name, $places, %opt) = @_;
	my $self = bless { name => $name, dir => $dir, owner => $$,
		cmd => [@{ $opt{wrap} || [] }, Farm::lab('lab-server'), '--state', "$dir/state", '--control', "$dir/$name.control",
			'--ready-fd', 3, @{ $opt{args} || [] }, map { ($name, @$_) } @$places] }, $class;
	$self->again;
	return $self;
}

sub again {
	my $self = shift;
	my $log = "$self->{dir}/$self->{name}.log";
	($self->{pid}, my $ready) = Farm::start($log, @{ $self->{cmd} });
	Farm::wait_ready("server $self->{name}", $self->{pid}, $ready, $log);
	return $self;
}

sub kill {
	my ($self, $signal) = @_;
	return unless $self->{pid};
	kill $signal || 'KILL', $self->{pid};
	waitpid $self->{pid}, 0;
	delete $self->{pid};
}

# A command of lab-server --ask: down, up, mute, ...; the answer.
sub ask {
	my ($self, @words) = @_;
	my $lab = Farm::lab('lab-server');
	return scalar `$lab --ask $self->{dir}/$self->{name}.control @words 2>&1`;
}

sub DESTROY { my $self = shift; local ($?, $@, $!); $self->kill if $self->{owner} == $$ }

package Farm::Crowd;
use strict;
use warnings;

# targets: lines as in farm.targets; options: wrap, args. Returns when each client has had its first answer.
sub new {
	my ($class, $dir, $targets, %opt) = @_;
	my $name = $opt{name} || 'crowd';
	my $self = bless { name => $name, owner => $$, log => "$dir/$name.log", json => "$dir/$name.json" }, $class;
	open my $out, '>', "$dir/$name.targets" or die $!;
	print $out $targets;
	close $out or die $!;
	($self->{pid}, my $ready) = Farm::start($self->{log}, @{ $opt{wrap} || [] }, Farm::lab('lab-crowd'), '--state', "$dir/state",
		'--json', $self->{json}, '--ready-fd', 3, '--wait', '40s', @{ $opt{args} || [] }, "$dir/$name.targets");
	Farm::wait_ready("the crowd $name", $self->{pid}, $ready, $self->{log});
	return $self;
}

# Asks it to end, or waits until it does by itself, and gives its report; `status` is that of the process.
sub end {
	my ($self, %opt) = @_;
	kill 'INT', $self->{pid} unless $opt{by_itself};
	waitpid $self->{pid}, 0;
	my $status = $?;
	delete $self->{pid};
	open my $in, '<', $self->{json} or die "the crowd $self->{name} left no report:\n" . $self->words;
	local $/;
	my $report = JSON::PP::decode_json(<$in>);
	$report->{status} = $status;
	return $report;
}

sub words {
	my $self = shift;
	open my $in, '<', $self->{log} or return '';
	local $/;
	return scalar <$in>;
}

sub DESTROY {
	my $self = shift;
	return unless $self->{pid} && $self->{owner} == $$;
	local ($?, $@, $!);
	kill 'KILL', $self->{pid};
	waitpid $self->{pid}, 0;
}

1;
