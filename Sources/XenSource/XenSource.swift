// The room XenSource.
