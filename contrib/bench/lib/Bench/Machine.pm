# What the kernel counts: processor time and memory of processes and of the whole machine.
package Bench::Machine;

use strict;
use warnings;

use Exporter 'import';
use POSIX ();

our @EXPORT_OK = qw(processes_but cpu_ns cpu_spent machine pss memory_used foreign_cpu cpus_allowed
	read_file describe);

my $TICK = POSIX::sysconf(&POSIX::_SC_CLK_TCK);
my $KERNEL_THREAD = 0x00200000;

sub read_file {
	my ($name) = @_;
	open my $in, '<', $name or return undef;
	local $/;
	return scalar <$in>;
}

sub pids {
	opendir my $dir, '/proc' or die "bench: /proc cannot be read: $!\n";
	return grep { /^\d+$/ } readdir $dir;
}

# Every process that can be seen (in a cell: of its own process namespace) except these.
sub processes_but {
	my %not = map { $_ => 1 } @_;
	return grep { !$not{$_} } pids();
}

# Nanoseconds on a processor so far, for each thread: { "PID/TID" => ns }.
sub cpu_ns {
	my %ns;
	for my $pid (@_) {
		for my $task (glob "/proc/$pid/task/*") {
			my $text = read_file("$task/schedstat") or next;
			$ns{$task} = (split ' ', $text)[0];
		}
	}
	return \%ns;
}

# Nanoseconds between two answers of cpu_ns. What a thread that ended in between did is lost.
sub cpu_spent {
	my ($before, $after) = @_;
	my $sum = 0;
	$sum += $after->{$_} - ($before->{$_} // 0) for keys %$after;
	return $sum;
}

# Seconds of all processors so far: busy (kernel work included) and stolen by the hypervisor.
sub machine {
	my $text = read_file('/proc/stat');
	my ($line) = $text =~ /^cpu\s+(.*)$/m;
	my ($user, $nice, $system, $idle, $iowait, $irq, $softirq, $steal) = split ' ', $line;
	return {
		busy => ($user + $nice + $system + $irq + $softirq) / $TICK,
		steal => $steal / $TICK,
	};
}

# Bytes of proportional set size, summed.
sub pss {
	my $sum = 0;
	for my $pid (@_) {
		my $text = read_file("/proc/$pid/smaps_rollup") or next;
		$sum += 1024 * $1 if $text =~ /^Pss:\s+(\d+)/m;
	}
	return $sum;
}

# Bytes of memory of the machine that are neither free nor cache; the kernel's part is in it.
sub memory_used {
	my $text = read_file('/proc/meminfo');
	my %kb = $text =~ /^(\w+):\s+(\d+)/mg;
	return 1024 * ($kb{MemTotal} - $kb{MemFree} - $kb{Buffers} - $kb{Cached} - $kb{SReclaimable});
}

# Seconds of processor time so far of all processes but these, with the children that they waited for: one
# that ends meanwhile is still in its parent's sum. Kernel threads are left out: their work may be ours.
sub foreign_cpu {
	my $ticks = 0;
	for my $pid (processes_but(@_)) {
		my $text = read_file("/proc/$pid/stat") or next;
		$text =~ s/^.*\) //s;
		my @field = split ' ', $text;
		$ticks += $field[11] + $field[12] + $field[13] + $field[14] if !($field[6] & $KERNEL_THREAD);
	}
	return $ticks / $TICK;
}

# Of all TCP in our namespace. What the machine prefers may cost more than all that is measured: BBR sets a timer
# for each send.
sub congestion_control {
	my ($name) = @_;
	open my $out, '>', '/proc/sys/net/ipv4/tcp_congestion_control' or die "congestion control: $!\n";
	print {$out} $name;
	close $out or die "congestion control \"$name\": $!; this kernel allows "
		. read_file('/proc/sys/net/ipv4/tcp_allowed_congestion_control');
}

# Processors that we may run on.
sub cpus_allowed {
	my ($list) = read_file('/proc/self/status') =~ /^Cpus_allowed_list:\s+(\S+)/m;
	return map { /^(\d+)-(\d+)$/ ? ($1 .. $2) : $_ } split /,/, $list;
}

sub describe {
	my ($model) = (read_file('/proc/cpuinfo') // '') =~ /^model name\s*:\s*(.*)$/m;
	my $kernel = (POSIX::uname())[2];
	return sprintf '%s, Linux %s', $model // 'unknown processor', $kernel;
}

1;
