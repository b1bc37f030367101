# One cell of the table: one proxy, one workload, one time. Runs as the first process of a process and
# network namespace of its own, so that every process beside origin and load is the proxy's (however it
# starts them), no port or TIME-WAIT of an earlier cell is in the way, and all ends with it.
package Bench::Cell;

use strict;
use warnings;

use Bench::Child;
use Bench::Machine qw(processes_but cpu_ns cpu_spent machine pss memory_used);
use JSON::PP ();
use List::Util qw(max min);
use Time::HiRes qw(time sleep);

my $WARMUP = 1;		  # seconds of traffic before the counted time
my $SETTLE = 6;		  # seconds of silence before memory is read: idle, not between two requests
my $RELOADS = 10;
my $HEALTH_SETTLE = 7;	  # seconds: more than one interval of the checks
my $HEALTH_SECONDS = 10;  # two intervals
my $ORIGIN = '127.0.0.11'; # the first of the servers, and the one that answers without a proxy

# Takes a cell's description (see run), gives its figures, or { invalid => why }, or
# { unsupported => the proxy's words }.
sub measure {
	my ($cell) = @_;
	my $self = bless { %$cell }, __PACKAGE__;
	local $SIG{PIPE} = 'IGNORE';
	my $result = eval {
		system('ip', 'link', 'set', 'lo', 'up') == 0 or die "no loopback in the namespace\n";
		Bench::Machine::congestion_control($self->{congestion});
		$self->start_origin;
		$self->start_proxy // $self->can("run_$self->{workload}{kind}")->($self);
	} // { invalid => $@ =~ s/\s+$//r };
	if ($self->{proxy}) {
		$result->{last_words} = $self->{proxy}->last_words if $result->{invalid};
		$self->{proxy}->stop;
	}
	return $result;
}

sub start_origin {
	my ($self) = @_;
	my @certificate = $self->{certificate} ? ('--certificate', $self->{certificate}) : ();
	my @tls = $self->{certificate} ? ('tls:0.0.0.0:6003', 'https:0.0.0.0:6004') : ();
	my @udp = map { "udp:127.0.0.$_:6002" } 11 .. 14;
	$self->{origin} = Bench::Child->start(cpu => $self->{cpu}{origin}, argv => [
		"$self->{tools}/origin", '--seconds', 600, @certificate,
		map { ('--listen', $_) } 'tcp:0.0.0.0:6000', 'http:0.0.0.0:6001', @udp, @tls]);
	$self->{origin}->expect('ready', 10);
}

# Undef when the proxy carries traffic (or none is wanted); else the reason why it won't.
sub start_proxy {
	my ($self) = @_;
	return undef if $self->{name} eq 'direct';
	my $proxy = Bench::Proxy->new($self->{name}, $self->{program});
	my @purposes = grep { defined } @{ $self->{workload} }{qw(conf or)};
	my $template = $proxy->template($self->{conf_folder}, @purposes)
		or return { unsupported => 'does not do that' };
	$proxy->configure($template, $self->{work}, $self->settings);
	if (my $words = $proxy->refuses) {
		# The peers are released programs; when one of them refuses, our template is wrong.
		die "refuses its configuration: $words\n" if $self->{name} ne 'steelyard';
		return { unsupported => $words };
	}
	$proxy->start($self->{cpu}{proxy});
	$self->{proxy} = $proxy;
	$self->probe($self->{workload}{to}, 20, @{ $self->{workload}{probe} // [] });
	return undef;
}

sub settings {
	my ($self, %other) = @_;
	# HAProxy wants two descriptors per connection, and some more for its splicing.
	return (FILES => $self->{files}, CONNECTIONS => int(($self->{files} - 1000) / 3),
		CERTIFICATE => $self->{certificate} // '/nonexistent', CHANGING => $ORIGIN, %other);
}

# Waits until one exchange succeeds.
sub probe {
	my ($self, $to, $seconds, @how) = @_;
	my ($status, $said);
	for (my $end = time + $seconds; time < $end && $self->{proxy}{child}->alive;) {
		($status, $said) = Bench::Child->run(60, "$self->{tools}/load", '--connect', $to,
			'--probe', '--seconds', min(5, $seconds), @how);
		return if defined $status && $status == 0;
	}
	die "the proxy ended\n" if !$self->{proxy}{child}->alive;
	my $report = eval { JSON::PP::decode_json($said) } // {};
	my $failures = $report->{failures} // {};
	my ($why) = sort { $failures->{$b} <=> $failures->{$a} } keys %$failures;
	die "carried nothing within $seconds s: " . ($why // 'no answer') . "\n";
}

sub start_load {
	my ($self, @how) = @_;
	my $workload = $self->{workload};
	my $direct = $self->{name} eq 'direct';
	return Bench::Child->start(cpu => $self->{cpu}{load}, argv => [
		"$self->{tools}/load", '--connect', $direct ? $workload->{direct} : $workload->{to},
		@{ $workload->{load} // [] }, $direct ? () : @{ $workload->{through} // [] }, @how]);
}

sub proxy_pids {
	my ($self, @loads) = @_;
	return () if !$self->{proxy};
	return processes_but($$, $self->{origin}{pid}, map { $_->{pid} } @loads);
}

# Clocks and memory, read while nothing moves.
sub snapshot {
	my ($self, @loads) = @_;
	my @pids = $self->proxy_pids(@loads);
	return { time => time, pids => \@pids, cpu => cpu_ns(@pids), machine => machine(),
		pss => pss(@pids), used => memory_used() };
}

# Everything that the difference of two snapshots says, for so many units.
sub figures {
	my ($self, $before, $after, $units) = @_;
	my $ns = cpu_spent($before->{cpu}, $after->{cpu});
	my $seconds = $after->{time} - $before->{time};
	my $per = $units || 1;
	my %figure = (
		units => $units, seconds => $seconds, rate => $units / $seconds,
		machine_us => 1e6 * ($after->{machine}{busy} - $before->{machine}{busy}) / $per,
		steal => 100 * ($after->{machine}{steal} - $before->{machine}{steal}) /
			($seconds * $self->{cpu}{count}),
	);
	@figure{qw(cpu_us core)} = ($ns / 1e3 / $per, 100 * $ns / 1e9 / $seconds) if $self->{proxy};
	return \%figure;
}

# Adds what load says of the exchanges; any failure makes the cell invalid.
sub judge {
	my ($self, $figure, @reports) = @_;
	my %failures;
	for my $report (@reports) {
		$failures{$_} += $report->{failures}{$_} for keys %{ $report->{failures} };
		$figure->{failed} += $report->{failed};
	}
	$figure->{$_} = $reports[-1]{$_} for qw(p50_us p99_us max_us tls);
	$figure->{failures} = \%failures;
	my ($worst) = sort { $failures{$b} <=> $failures{$a} } keys %failures;
	$figure->{invalid} = sprintf '%d exchanges failed, the most of them at %s', $figure->{failed}, $worst
		if $figure->{failed};
	$figure->{invalid} //= 'not one exchange in the counted time' if !$figure->{units};
	$figure->{invalid} //= 'the proxy ended' if $self->{proxy} && !$self->{proxy}{child}->alive;
	return $figure;
}

sub report_of {
	my ($self, $load) = @_;
	my $report = JSON::PP::decode_json($load->line(60));
	$load->finish(10);
	return $report;
}

# Counts the proxy's system calls from here on.
sub strace_start {
	my ($self, @loads) = @_;
	my @pids = $self->proxy_pids(@loads);
	my $file = "$self->{work}/strace";
	my $strace = Bench::Child->start(cpu => $self->{cpu}{load}, stderr => "$file.err",
		argv => ['strace', '-f', '-c', '-U', 'name,calls', '-o', $file, map { ('-p', $_) } @pids]);
	for (1 .. 500) {
		my $attached = () = (Bench::Machine::read_file("$file.err") // '') =~ /attached/g;
		return $strace if $attached >= @pids;
		sleep 0.01;
	}
	die "strace could not attach to the proxy\n";
}

# { call => number for each of so many units }
sub strace_stop {
	my ($self, $strace, $units) = @_;
	$strace->signal('INT');
	$strace->finish(10);
	my $text = Bench::Machine::read_file("$self->{work}/strace") // '';
	my %calls = $text =~ /^\s*(\w+)\s+(\d+)\s*$/mg;
	delete $calls{total};
	return { map { $_ => $calls{$_} / ($units || 1) } keys %calls };
}

sub run_rate {
	my ($self) = @_;
	my $load = $self->start_load('--warmup', $WARMUP, '--seconds', $self->{seconds});
	my $strace;
	$load->expect('begin', $WARMUP + 30);
	$strace = $self->strace_start($load) if $self->{syscalls} && $self->{proxy};
	my $before = $self->snapshot($load);
	$load->answer;
	$load->expect('end', $self->{seconds} + 30);
	my $after = $self->snapshot($load);
	$load->answer;
	my $report = $self->report_of($load);
	my $units = $report->{done} * ($self->{workload}{units_each} // 1);
	my $figure = $self->figures($before, $after, $units);
	$figure->{calls} = $self->strace_stop($strace, $units) if $strace;
	return $self->judge($figure, $report);
}

sub run_hold {
	my ($self) = @_;
	my $count = $self->{workload}{connections};
	my $load = $self->start_load('--hold', '--connections', $count, '--warmup', $SETTLE, '--seconds', 60);
	$load->expect('begin', 30);
	my $before = $self->snapshot($load);
	$load->answer;
	$load->expect('end', 60 + $SETTLE + 30);
	my $after = $self->snapshot($load);
	$load->answer;
	my $report = $self->report_of($load);
	my $figure = $self->figures($before, $after, $count);
	delete @$figure{qw(rate cpu_us machine_us core)};
	$figure->{machine_each} = ($after->{used} - $before->{used}) / $count;
	if ($self->{proxy}) {
		$figure->{bytes_each} = ($after->{pss} - $before->{pss}) / $count;
		$figure->{empty_mb} = $before->{pss} / 1e6;
		$figure->{full_mb} = $after->{pss} / 1e6;
	}
	return $self->judge($figure, $report);
}

# One reload; milliseconds until a new connection meets the new configuration.
sub reload_once {
	my ($self, $round) = @_;
	my $server = $round % 2 ? '127.0.0.12' : $ORIGIN;
	my $proxy = $self->{proxy};
	my $template = $proxy->template($self->{conf_folder}, $self->{workload}{conf});
	$proxy->configure($template, $self->{work}, $self->settings(CHANGING => $server));
	my $start = time;
	$proxy->reload;
	$self->probe('127.0.0.1:5001', 15, '--expect', $server);
	return 1e3 * (time - $start);
}

# Connections that stay until the end, each with an exchange now and then.
sub start_long {
	my ($self, $count, $pace) = @_;
	my $load = $self->start_load('--connections', $count, '--pace', $pace, '--warmup', 0.2,
		'--seconds', 120, '--until-told');
	$load->expect('begin', 30);
	return $load;
}

sub run_reload {
	my ($self) = @_;
	return { unsupported => 'there is nothing to reload' } if !$self->{proxy};
	my $short = $self->start_load('--connections', 16, '--pace', 0.032, '--exchanges', 1, '--sources', 8,
		'--warmup', 1, '--seconds', 120, '--until-told');
	$short->expect('begin', 30);
	my @loads = ($self->start_long(64, 0.02), $short);
	my $before = $self->snapshot(@loads);
	$_->answer for @loads;
	my @took;
	for my $round (1 .. $RELOADS) {
		# Each configuration gets connections that outlive it: where processes carry them, those
		# processes stay.
		my $long = $self->start_long(8, 0.1);
		$long->answer;
		unshift @loads, $long;
		sleep 0.2;
		push @took, $self->reload_once($round);
	}
	sleep 1;
	my $after = $self->snapshot(@loads);
	for my $load (@loads) {
		$load->answer; # ends the traffic, and is the answer to "end" as well
		$load->expect('end', 30);
	}
	my @sorted = sort { $a <=> $b } @took;
	my $figure = $self->figures($before, $after, $RELOADS);
	delete @$figure{qw(rate cpu_us machine_us core)};
	$self->judge($figure, map { $self->report_of($_) } @loads);
	# Here failures are what is measured.
	delete $figure->{invalid} if $figure->{failed};
	return { %$figure, reload_ms => $sorted[@sorted / 2], reload_max_ms => $sorted[-1], all_ms => \@took,
		before_mb => $before->{pss} / 1e6, after_mb => $after->{pss} / 1e6,
		processes_before => scalar @{ $before->{pids} }, processes => scalar @{ $after->{pids} } };
}

# Connections begun in this namespace so far. Not those that origin accepted: HAProxy resets a checked
# connection before the server learns of it.
sub connects {
	my $text = Bench::Machine::read_file('/proc/net/snmp') // '';
	my ($names, $numbers) = $text =~ /^Tcp: (.*)\nTcp: (.*)\n/m;
	my %tcp;
	@tcp{ split ' ', $names } = split ' ', $numbers;
	return $tcp{ActiveOpens};
}

sub run_health {
	my ($self) = @_;
	return { unsupported => 'there is nothing that checks' } if !$self->{proxy};
	sleep $HEALTH_SETTLE;
	my $strace = $self->{syscalls} ? $self->strace_start : undef;
	my $connects = connects();
	my $before = $self->snapshot;
	sleep $HEALTH_SECONDS;
	$connects = connects() - $connects;
	my $after = $self->snapshot;
	my $figure = $self->figures($before, $after, $connects);
	$figure->{calls} = $self->strace_stop($strace, $connects) if $strace;
	my $expected = $self->{workload}{expected_rate};
	$figure->{full_mb} = $after->{pss} / 1e6;
	$figure->{failed} = 0;
	$figure->{invalid} = sprintf 'made %.0f checks a second instead of %d', $figure->{rate}, $expected
		if !$strace && abs($figure->{rate} / $expected - 1) > 0.1;
	return $figure;
}

1;
